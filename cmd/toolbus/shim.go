package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/shim"
	"github.com/toolbus/toolbus/servers/wire"
)

// shimFlags are what `shim` is told.
type shimFlags struct {
	group    string
	wait     time.Duration
	recreate bool
}

func shimCommand(e *env) *cobra.Command {
	var f shimFlags
	cmd := &cobra.Command{
		Use:   "shim NAME | shim --group GROUP",
		Short: "be a stdio MCP server for one client",
		Long: "Shim is what an MCP client starts as a command: it speaks MCP on stdin and stdout, and behind it stands whoever has the name on the bus. Nothing but\n" +
			"JSON-RPC goes to stdout; what it has to say goes to stderr. While nobody has the name, requests wait for --wait and are then answered with an error;\n" +
			"a server that comes later is picked up. When the instance of a session ends, the session is made again on the next.",
		Example: "toolbus shim files\n" +
			"toolbus shim --group search\n" +
			`{"mcpServers":{"files":{"command":"toolbus","args":["shim","files"]}}}`,
		Args:              rangeArgs(0, 1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := shimTarget(cmd, args, f.group)
			if err != nil {
				return err
			}
			return e.shim(cmd.Context(), to, f)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.group, "group", "g", "", "a member of `GROUP`, instead of a name")
	fs.DurationVar(&f.wait, "wait", 10*time.Second, "how long requests wait for a server that is not there")
	fs.BoolVar(&f.recreate, "recreate", true, "make a session again when its instance has ended; else end with it")
	return cmd
}

func shimTarget(cmd *cobra.Command, args []string, group string) (to wire.Target, err error) {
	switch {
	case group == "" && len(args) == 0:
		return to, usage("usage: "+cmd.UseLine(), "the name is missing")
	case group != "" && len(args) > 0:
		return to, usage("usage: "+cmd.UseLine(), "a name and a group are two things")
	case group != "":
		to.Group, err = registry.ParseName(group)
	default:
		to.Name, err = registry.ParseName(args[0])
	}
	return to, err
}

// shim serves one client until it closes its side.
func (e *env) shim(ctx context.Context, to wire.Target, f shimFlags) error {
	if os.Stdout == e.stdout { // whatever else in this process believes that it may print
		os.Stdout = os.Stderr
		defer func() { os.Stdout = e.stdout.(*os.File) }()
	}
	log := e.logger(true)
	l, err := e.patientConnect(ctx, "shim", to.String(), f.wait)
	if err != nil {
		return err
	}
	defer l.close()
	reg, done, err := e.view(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	opts := servers.CallerOptions(reg)
	opts.Logger = log
	caller, err := wire.NewCaller(l.conn, opts)
	if err != nil {
		return err
	}
	defer caller.Close()
	wait := f.wait
	if wait <= 0 {
		wait = -1
	}
	err = shim.Run(ctx, e.stdin, e.stdout, shim.OnBus(caller, reg, to, log), &shim.Options{Wait: wait, NoRecreate: !f.recreate, Logger: log})
	if errors.Is(err, shim.ErrSessionEnded) {
		failed := fail(classNoAnswer, "start the client's session again; with --recreate the shim does it by itself where it can", "%s: %s", to, plain(err))
		failed.cause = err
		return failed
	}
	if s := interrupted(ctx); s != nil {
		return s
	}
	return err
}

// patientConnect is connect for a command that a client starts on its own, perhaps before the node: it tries again for so long.
func (e *env) patientConnect(ctx context.Context, role, name string, wait time.Duration) (*link, error) {
	for end := time.Now().Add(wait); ; {
		l, err := e.connect(ctx, role, name, e.logger(true), nil)
		if err == nil || classify(err) != classUnreachable || time.Now().After(end) {
			return l, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}
