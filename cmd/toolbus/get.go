package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

func getCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "get NAME",
		Aliases:           []string{"describe", "info"},
		Short:             "show all about one server",
		Example:           "toolbus get everything\ntoolbus get everything -o json | jq .instance",
		Args:              exactArgs(1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, l, done, err := e.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			rec, state, err := e.lookup(ctx, l, args[0])
			if err != nil {
				return err
			}
			var replicas []registry.Replica
			// The groups are the keys of other records: a one-shot read of the whole scope is what they cost.
			if snap, err := registry.Load(ctx, l.store); err == nil {
				rec.Groups = snap.GroupsOf(rec.Instance)
				if rec.Digest != "" {
					replicas, _ = snap.Replicas(rec.Name) // there is none of what is no name
				}
			}
			switch {
			case e.out.machine():
				return e.out.document(struct {
					listed
					Replicas []registry.Replica `json:"replicas,omitempty"`
				}{e.describe(rec, state), replicas})
			case e.out.format == formatName:
				return e.out.lines([]string{rec.Name})
			}
			rows := [][2]string{
				{"name", rec.Name},
				{"state", e.out.state(state)},
				{"node", rec.Node},
				{"host", rec.Host},
				{"pid", nonZero(rec.PID)},
				{"kind", rec.Kind},
				{"groups", strings.Join(rec.Groups, " ")},
				{"labels", pairs(rec.Labels)},
				{"since", rec.Since.UTC().Format(time.RFC3339) + " (" + e.out.age(rec.Since) + ")"},
				{"instance", rec.Instance},
				{"session", rec.Session},
				{"address", rec.Address},
				{"token", fmt.Sprint(rec.Token)},
				{"revision", fmt.Sprint(rec.Revision)},
			}
			for _, r := range replicas {
				rows = append(rows, [2]string{"replica", fmt.Sprintf("%s on %s, pid %d", r.Instance, r.Node, r.PID)})
			}
			for _, k := range slices.Sorted(maps.Keys(rec.Metadata)) {
				rows = append(rows, [2]string{k, shorten(rec.Metadata[k], 120)})
			}
			return e.out.facts(rows)
		},
	}
}

func nonZero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
