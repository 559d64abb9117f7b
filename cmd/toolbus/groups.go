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
	var watch bool
	cmd := &cobra.Command{
		Use:     "groups [GROUP] [-w]",
		Short:   "list the groups, or the members of one",
		Example: "toolbus groups\ntoolbus groups tools\ntoolbus groups tools -w      # again whenever it changes",
		Args:    rangeArgs(0, 1, "the group"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				var err error
				if name, err = registry.ParseName(args[0]); err != nil {
					return err
				}
			}
			if watch {
				return e.watchGroups(cmd, name)
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
			if name == "" {
				return e.listGroups(snap, uint64(snap.Revision()))
			}
			members, err := snap.Members(name)
			if err != nil {
				return err
			}
			if len(members) == 0 {
				return e.noSuchGroup(name, snap.Groups())
			}
			return e.listMembers(name, members, e.silent(ctx, l, snap), uint64(snap.Revision()))
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "stay, and show it again whenever it changes; in a pipe: one event a line")
	return cmd
}

func (e *env) listMembers(group string, members []registry.Member, silent map[string]bool, at uint64) error {
	out := listing{
		kind: "Member", scope: e.scope, at: at, head: []string{"NAME", "STATE", "NODE", "AGE", "INSTANCE"}, empty: "nobody is in " + group,
	}
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
}

// groupReader is a snapshot, or a view that follows.
type groupReader interface {
	Groups() []string
	Members(group string) ([]registry.Member, error)
}

func (e *env) listGroups(from groupReader, at uint64) error {
	out := listing{
		kind: "Group", scope: e.scope, at: at, head: []string{"GROUP", "MEMBERS", "NAMES"},
		empty: "no groups in scope " + e.scope,
	}
	for _, g := range from.Groups() {
		members, err := from.Members(g)
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
