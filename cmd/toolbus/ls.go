package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

func lsCommand(e *env) *cobra.Command {
	var group string
	var selector []string
	cmd := &cobra.Command{
		Use:     "ls [PREFIX] [-g GROUP] [-l KEY=VALUE]",
		Aliases: []string{"ps", "list"},
		Short:   "list the servers on the bus",
		Example: "toolbus ls\ntoolbus ls team-a.          # names that begin so\ntoolbus ls -g tools -o name | xargs -n1 toolbus get",
		Args:    rangeArgs(0, 1, "a prefix"),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = strings.ToLower(strings.TrimSuffix(args[0], "*"))
			}
			want, err := parseLabels(selector)
			if err != nil {
				return err
			}
			ctx, l, done, err := e.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			snap, err := registry.Load(ctx, l.store)
			if err != nil {
				return err
			}
			in := func(registry.Record) bool { return true }
			if group != "" {
				if group, err = registry.ParseName(group); err != nil {
					return err
				}
				in = func(rec registry.Record) bool { return contains(rec.Groups, group) }
			}
			silent := e.silent(ctx, l, snap)
			out := e.serverList(snap)
			nodes := map[string]bool{}
			for _, rec := range snap.List() {
				if !strings.HasPrefix(rec.Name, prefix) || !want.match(rec.Labels) || !in(rec) {
					continue
				}
				nodes[rec.Node] = true
				state := stateOf(silent, rec.Session)
				out.rows = append(out.rows, []string{
					rec.Name, e.out.state(state), rec.Node, rec.Kind, e.out.age(rec.Since), strings.Join(rec.Groups, ","),
				})
				out.names = append(out.names, rec.Name)
				out.items = append(out.items, e.describe(rec, state))
			}
			foot := fmt.Sprintf("%s on %s, scope %s", count(len(out.rows), "server"), count(len(nodes), "node"), e.scope)
			if k, ok := snap.Keeper(); ok {
				foot += ", kept by " + k.Node
			} else {
				foot += ", kept by nobody"
			}
			if e.out.tty {
				out.foot = []string{e.out.dim(foot)}
			}
			return e.out.list(out)
		},
	}
	cmd.Flags().StringVarP(&group, "group", "g", "", "only members of `GROUP`")
	cmd.Flags().StringArrayVarP(&selector, "label", "l", nil, "only servers with this label, `KEY=VALUE`; may be repeated")
	return cmd
}

func (e *env) serverList(snap *registry.Snapshot) listing {
	return listing{
		kind: "Server", scope: e.scope, at: uint64(snap.Revision()),
		head:  []string{"NAME", "STATE", "NODE", "KIND", "AGE", "GROUPS"},
		empty: "no servers in scope " + e.scope + "; put one on the bus: toolbus run NAME -- COMMAND",
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
