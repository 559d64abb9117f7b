package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

func lsCommand(e *env) *cobra.Command {
	var (
		group, after, at string
		limit            int
		which            chooser
	)
	cmd := &cobra.Command{
		Use:     "ls [PATTERN] [-g GROUP] [-l SELECTOR]",
		Aliases: []string{"ps", "list"},
		Short:   "list the servers on the bus",
		Example: "toolbus ls\ntoolbus ls 'team-a.>'       # all below team-a; '*.weather' is the weather of any team\n" +
			"toolbus ls -l 'type=tool,lang!=go' --node n1\ntoolbus ls -g tools -o name | xargs -n1 toolbus get",
		Args: rangeArgs(0, 1, "a pattern"),
		RunE: func(cmd *cobra.Command, args []string) error {
			which.words(args)
			if group != "" {
				var err error
				if group, err = registry.ParseName(group); err != nil {
					return err
				}
			}
			match, err := which.matcher() // a typing error needs no NATS
			if err != nil {
				return err
			}
			if at != "" && (group != "" || after != "" || limit != 0 || len(which.selectors) > 0 || which.kind != "") {
				return usage("toolbus ls 'team-a.>' --node n1 --at -10m", "--at goes with a pattern and --node: the history has names, owners and nodes only")
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
			if at != "" {
				return e.listPast(ctx, l, snap, at, match)
			}
			page, err := findIn(snap, which.query(), group, after, limit)
			if err != nil {
				return err
			}
			silent := e.silent(ctx, l, snap)
			out := e.serverList(snap)
			out.next = page.Next
			nodes := map[string]bool{}
			for _, rec := range page.Records {
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
			if page.Next != "" {
				foot += "; there are more: --after " + page.Next
			}
			if e.out.tty {
				out.foot = []string{e.out.dim(foot)}
			}
			return e.out.list(out)
		},
	}
	which.flags(cmd.Flags())
	cmd.Flags().StringVarP(&group, "group", "g", "", "only members of `GROUP`")
	cmd.Flags().IntVar(&limit, "limit", 0, "no more than `N` servers; JSON says where the next page begins")
	cmd.Flags().StringVar(&at, "at", "", "who held the names at a `TIME`: -10m, or 2026-11-24T15:04:05Z")
	cmd.Flags().StringVar(&after, "after", "", "only names that come after `NAME`")
	return cmd
}

// findIn is one page of the names that a query chooses and that are in a group, if one is given.
func findIn(snap *registry.Snapshot, q registry.Query, group, after string, limit int) (registry.Page, error) {
	q.After = after
	if group == "" {
		q.Limit = limit
		return snap.Find(q)
	}
	page, err := snap.Find(q)
	page.Records = slices.DeleteFunc(page.Records, func(rec registry.Record) bool { return !slices.Contains(rec.Groups, group) })
	if limit > 0 && len(page.Records) > limit {
		page.Records = page.Records[:limit]
		page.Next = page.Records[limit-1].Name
	}
	return page, err
}

func (e *env) serverList(snap *registry.Snapshot) listing {
	return listing{
		kind: "Server", scope: e.scope, at: uint64(snap.Revision()),
		head:  []string{"NAME", "STATE", "NODE", "KIND", "AGE", "GROUPS"},
		empty: "no servers in scope " + e.scope + "; put one on the bus: toolbus run NAME -- COMMAND",
	}
}
