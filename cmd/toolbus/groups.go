package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// group and member are what the JSON of `groups` holds.
type group struct {
	header
	Scope   string   `json:"scope"`
	Group   string   `json:"group"`
	Members int      `json:"members"`
	Names   []string `json:"names"`
}

type member struct {
	header
	Scope string `json:"scope"`
	State string `json:"state"`
	registry.Member
}

func groupsCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "groups [GROUP]",
		Short:   "list the groups, or the members of one",
		Example: "toolbus groups\ntoolbus groups tools",
		Args:    rangeArgs(0, 1, "the group"),
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
			if len(args) == 0 {
				return e.listGroups(snap)
			}
			members, err := snap.Members(args[0])
			if err != nil {
				return err
			}
			if len(members) == 0 {
				return e.noSuchGroup(strings.ToLower(args[0]), snap.Groups())
			}
			silent := e.silent(ctx, l, snap)
			out := listing{kind: "Member", scope: e.scope, at: uint64(snap.Revision()), head: []string{"NAME", "STATE", "NODE", "AGE", "INSTANCE"}}
			for _, m := range members {
				m.Since = m.Since.UTC()
				state := stateOf(silent, m.Session)
				out.rows = append(out.rows, []string{orDash(m.Name), e.out.state(state), m.Node, e.out.age(m.Since), m.Instance})
				if m.Name != "" {
					out.names = append(out.names, m.Name)
				}
				out.items = append(out.items, member{head("Member"), e.scope, state, m})
			}
			return e.out.list(out)
		},
	}
}

func (e *env) listGroups(snap *registry.Snapshot) error {
	out := listing{
		kind: "Group", scope: e.scope, at: uint64(snap.Revision()), head: []string{"GROUP", "MEMBERS", "NAMES"},
		empty: "no groups in scope " + e.scope,
	}
	for _, g := range snap.Groups() {
		members, err := snap.Members(g)
		if err != nil {
			return err
		}
		item := group{header: head("Group"), Scope: e.scope, Group: g, Members: len(members), Names: []string{}}
		for _, m := range members {
			if m.Name != "" {
				item.Names = append(item.Names, m.Name)
			}
		}
		out.rows = append(out.rows, []string{g, fmt.Sprint(item.Members), strings.Join(item.Names, ",")})
		out.names = append(out.names, g)
		out.items = append(out.items, item)
	}
	return e.out.list(out)
}

func (e *env) noSuchGroup(name string, groups []string) error {
	f := fail(classNotFound, "toolbus groups shows all groups", "no group named %q on this bus (%s in scope %s)", name, count(len(groups), "group"), e.scope)
	if near := nearest(name, groups); near != "" {
		f.hint = fmt.Sprintf("did you mean %q?  All groups: toolbus groups", near)
		f.with("suggestion", near)
	}
	return f.with("group", name)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
