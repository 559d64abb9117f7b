package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/bridge"
)

// logged is a line of a server's log, in JSON.
type logged struct {
	header
	Name     string `json:"name"`
	Instance string `json:"instance"`
	bridge.LogLine
}

func logsCommand(e *env) *cobra.Command {
	var follow bool
	var instance string
	cmd := &cobra.Command{
		Use:   "logs NAME [-f]",
		Short: "show what a server wrote to stderr",
		Long: "Logs shows the last lines that a server which was started by `toolbus run` wrote to stderr, and what became of its process, from any machine.\n" +
			"With -f it goes on until Ctrl-C or until the server is gone.",
		Example:           "toolbus logs everything\ntoolbus logs everything -f -o jsonl",
		Args:              exactArgs(1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, l, done, err := e.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			rec, _, err := e.lookup(ctx, l, args[0])
			if err != nil {
				return err
			}
			if instance == "" {
				instance = rec.Instance
			}
			if follow { // not for --timeout alone
				ctx = cmd.Context()
			}
			return e.showLog(ctx, cmd.Context(), l, rec, instance, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the lines that come")
	cmd.Flags().StringVar(&instance, "instance", "", "of this `INSTANCE` of a shared name (default: the one that the record names)")
	return cmd
}

func (e *env) showLog(ctx, signals context.Context, l *link, rec registry.Record, instance string, follow bool) error {
	any := false
	for line, err := range bridge.ReadLog(ctx, l.conn, e.scope, instance, follow) {
		switch {
		case err == nil:
			any = true
			if err := e.logLine(rec.Name, instance, line); err != nil {
				return err
			}
			continue
		case interrupted(signals) != nil:
			return interrupted(signals)
		case errors.Is(err, bus.ErrNoResponders) && any && follow:
			e.note("%s is gone", rec.Name)
			return nil
		case errors.Is(err, bus.ErrNoResponders):
			f := fail(classNoAnswer, "only servers that `toolbus run` started have one, while they are run; toolbus get "+rec.Name+" shows the owner",
				"nobody keeps a log of %q (%s)", rec.Name, rec.Holder())
			f.cause = err
			return f.with("name", rec.Name).with("instance", instance)
		}
		return err
	}
	return nil
}

func (e *env) logLine(name, instance string, line bridge.LogLine) error {
	switch e.out.format {
	case formatJSON, formatJSONL:
		return e.out.document(logged{head("LogLine"), name, instance, line})
	}
	who := "toolbus"
	if line.PID != 0 {
		who = fmt.Sprint(line.PID)
	}
	return e.out.lines([]string{line.Time.Local().Format(time.DateTime) + " [" + who + "] " + line.Text})
}
