package main

import (
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
