package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// interval is one line of `history`, in JSON.
type interval struct {
	header
	Scope string `json:"scope"`
	registry.Interval
}

func historyCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "history NAME",
		Short: "show who held a name, from when to when, and why it ended",
		Long: "History shows who held a name, the oldest first, as far back as the scope's history reaches. Nodes write it down, or on a NATS of your own\n" +
			"the keeper: what happened while none of them was there is marked. A name that nobody has held as far as is known: exit 6.",
		Example:           "toolbus history everything\ntoolbus history everything -o json | jq -r '.items[].reason'",
		Args:              exactArgs(1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, l, done, err := e.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			snap, err := registry.Load(ctx, l.store)
			if err != nil {
				return err
			}
			h, err := kvstore.OpenJetStreamHistory(ctx, l.conn.NATS(), e.scope, nil)
			if err != nil {
				return err
			}
			past, err := snap.History(ctx, h, args[0])
			if err != nil {
				return err
			}
			if len(past.Intervals) == 0 {
				f := fail(classNotFound, "toolbus ls shows all names that are held now", "nobody has held %q as far as is known", args[0])
				if past.Since.IsZero() {
					f.hint = "nobody writes the history of this scope: a node does, toolbus up, or a keeper, toolbus up --nats URL"
				}
				return f.with("name", args[0])
			}
			return e.out.list(e.historyList(past, uint64(snap.Revision())))
		},
	}
}

func (e *env) historyList(past registry.Past, at uint64) listing {
	out := listing{kind: "Interval", scope: e.scope, at: at, head: []string{"FROM", "TO", "NODE", "TOKEN", "WHY IT ENDED"}}
	for _, i := range past.Intervals {
		i.From, i.To = i.From.UTC(), i.To.UTC()
		to, why := "-", string(i.Reason)
		switch {
		case i.Held:
			to = "now"
		case !i.To.IsZero():
			to = i.To.Format(time.RFC3339)
		}
		if i.Collapsed {
			why += " (there was a gap)"
		}
		out.rows = append(out.rows, []string{i.From.Format(time.RFC3339), to, i.Node, nonZero(int(i.Token)), orDash(why)})
		out.names = append(out.names, i.Name)
		out.items = append(out.items, interval{head("Interval"), e.scope, i})
	}
	return out
}

// listPast is `ls --at`.
func (e *env) listPast(ctx context.Context, l *link, snap *registry.Snapshot, at string, match *matcher) error {
	when, err := e.pastTime(at)
	if err != nil {
		return err
	}
	h, err := kvstore.OpenJetStreamHistory(ctx, l.conn.NATS(), e.scope, nil)
	if err != nil {
		return err
	}
	past, err := snap.At(ctx, h, when)
	if err != nil {
		return err
	}
	if past.Since.IsZero() || when.Before(past.Since) {
		e.note("! the history of scope %s does not reach back so far: this is only what is known of that time", e.scope)
	}
	past.Intervals = slices.DeleteFunc(past.Intervals, func(i registry.Interval) bool {
		return !match.pattern.Match(i.Name) || match.node != "" && match.node != i.Node
	})
	out := e.historyList(past, uint64(snap.Revision()))
	out.head = append([]string{"NAME"}, out.head...)
	for i, row := range out.rows {
		out.rows[i] = append([]string{out.names[i]}, row...)
	}
	out.empty = "nobody held a name in scope " + e.scope + " at " + when.UTC().Format(time.RFC3339)
	return e.out.list(out)
}

// pastTime reads how long ago, or when.
func (e *env) pastTime(text string) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && strings.HasPrefix(text, "-") {
		return e.out.now().Add(ago), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usage("--at takes -10m, or 2026-11-24T15:04:05Z", "not a time in the past: %s", quote(text))
	}
	return t, nil
}
