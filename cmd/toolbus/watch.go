package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// event is one line of `watch -o jsonl`.
type event struct {
	header
	Scope     string    `json:"scope"`
	Event     string    `json:"event"`
	Revision  uint64    `json:"revision"`
	Seen      time.Time `json:"seen"` // by this process's clock
	Reason    string    `json:"reason,omitempty"`
	Collapsed bool      `json:"collapsed,omitempty"` // something before it was not seen, only its result

	Server   *registry.Record   `json:"server,omitempty"`
	Member   *registry.Member   `json:"member,omitempty"`
	Property *registry.Property `json:"property,omitempty"`
}

func watchCommand(e *env) *cobra.Command {
	var (
		group string
		which chooser
	)
	cmd := &cobra.Command{
		Use:               "watch [PATTERN] [-l SELECTOR] | watch -g GROUP",
		Short:             "show what changes, as it happens",
		Long:              "Watch tells first what is there, then every change, until it is stopped. In a pipe each event is a line of JSON.",
		Example:           "toolbus watch\ntoolbus watch everything\ntoolbus watch 'team-a.>' -l lang=go\ntoolbus watch -g tools -o jsonl | jq -r .event",
		Args:              rangeArgs(0, 1, "a pattern"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			which.words(args)
			if group != "" && !which.any() {
				return usage("watch a group with -g, or names with a pattern, -l, --node and --kind", "-g is about members, the rest about names")
			}
			match, err := which.matcher()
			if err != nil {
				return err
			}
			opts := &registry.WatchOptions{Group: group, Name: which.literal()}
			return e.watch(cmd.Context(), opts, func(ev registry.Event) bool { return which.any() || match.match(ev) })
		},
	}
	which.flags(cmd.Flags())
	cmd.Flags().StringVarP(&group, "group", "g", "", "only `GROUP` and its members")
	return cmd
}

// watch prints the events that are wanted, until ctx ends.
func (e *env) watch(ctx context.Context, opts *registry.WatchOptions, wanted func(registry.Event) bool) error {
	if !e.out.tty && !e.out.chosen || e.out.format == formatJSON { // a stream has no end at which a document could be closed
		e.out.format = formatJSONL
	}
	reg, done, err := e.follow(ctx)
	if err != nil {
		return err
	}
	defer done()
	for {
		for ev, err := range reg.Watch(ctx, opts) {
			if errors.Is(err, registry.ErrLagged) {
				e.note("! events were missed; what is there follows again")
				break
			}
			if err != nil {
				return err
			}
			if !wanted(ev) {
				continue
			}
			if err := e.printEvent(ev); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return interrupted(ctx)
		}
	}
}

// follow opens a view of the scope, loaded, which never keeps it. done closes it.
func (e *env) follow(ctx context.Context) (*registry.Registry, func(), error) {
	l, err := e.connect(ctx, "cli", "", e.logger(false), nil)
	if err != nil {
		return nil, nil, err
	}
	reg, done, err := e.view(ctx, l)
	if err != nil {
		l.close()
		return nil, nil, err
	}
	return reg, func() { done(); l.close() }, nil
}

// view is follow on a connection that is there, and stays.
func (e *env) view(ctx context.Context, l *link) (*registry.Registry, func(), error) {
	reg, err := registry.Open(ctx, l.store, &registry.Options{Scope: e.scope, Peers: l.conn, Role: registry.Never, Logger: e.logger(false)})
	if err != nil {
		return nil, nil, err
	}
	done := func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
		defer cancel()
		_ = reg.Close(end) // it owns no session: nothing is left undone
	}
	if err := e.synced(ctx, reg); err != nil {
		done()
		return nil, nil, err
	}
	return reg, done, nil
}

// synced waits for a view to be loaded, no longer than --timeout: a NATS without JetStream would be waited for for ever.
func (e *env) synced(ctx context.Context, reg *registry.Registry) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	return reg.WaitSynced(ctx)
}

func (e *env) printEvent(ev registry.Event) error {
	rec, m := ev.Record, ev.Member
	rec.Since, m.Since = rec.Since.UTC(), m.Since.UTC()
	if e.out.format == formatJSONL {
		out := event{
			header: head("Event"), Scope: e.scope, Event: string(ev.Kind), Revision: uint64(ev.Revision), Seen: e.out.now().UTC(),
			Reason: string(ev.Reason), Collapsed: ev.Collapsed,
		}
		if rec.Name != "" {
			out.Server = &rec
		}
		if m.Group != "" {
			out.Member = &m
		}
		if ev.Property.Key != "" {
			out.Property = &ev.Property
		}
		return e.out.document(out)
	}
	what, who := rec.Name, rec.Holder()
	if m.Group != "" {
		what, who = m.Group, orDash(m.Name)+" on "+m.Node
	}
	if p := ev.Property; p.Key != "" {
		what, who = p.Key, shorten(p.Value, 60)+" of session "+p.Session
	}
	if e.out.format == formatName {
		if what == "" {
			return nil
		}
		return e.out.lines([]string{what})
	}
	if ev.Kind == registry.Synced {
		return e.out.lines([]string{e.out.dim(fmt.Sprintf("-- that is all there is at revision %d; what follows is new --", ev.Revision))})
	}
	if ev.Reason != "" {
		who += "  (" + string(ev.Reason) + ")"
	}
	line := fmt.Sprintf("%s  %-14s %-20s %s", e.out.now().Format("15:04:05.000"), ev.Kind, clean(what), clean(who))
	return e.out.lines([]string{line})
}

// note tells people something on stderr that is no data and no error. -q silences it.
func (e *env) note(format string, args ...any) {
	if !e.quiet {
		fmt.Fprintf(e.stderr, format+"\n", args...)
	}
}
