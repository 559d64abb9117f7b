package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// membership is what `join` and `leave` did, in JSON.
type membership struct {
	header
	Scope    string `json:"scope"`
	Name     string `json:"name"`
	Group    string `json:"group"`
	Member   bool   `json:"member"`  // is it one now?
	Changed  bool   `json:"changed"` // or was it so before?
	Revision uint64 `json:"revision"`
}

func joinCommand(e *env) *cobra.Command {
	return e.askCommand("join NAME GROUP", "take a server into a group", "toolbus join everything team-a", true)
}

func leaveCommand(e *env) *cobra.Command {
	return e.askCommand("leave NAME GROUP", "take a server out of a group", "toolbus leave everything team-a", false)
}

// askCommand is both of them: they ask the owner, as only he writes what is his, and wait until the log shows it.
func (e *env) askCommand(use, short, example string, in bool) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long: "The owner of the name is asked, and does it; the command ends when it is seen. A group needs no making: it is there while it has a member.\n" +
			"What is so already is no error.",
		Example:           example,
		Args:              exactArgs(2, "the name or the group"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			group, err := registry.ParseName(args[1])
			if err != nil {
				return err
			}
			ctx, l, done, err := e.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			err = e.askOwner(ctx, l, args[0], group, in)
			if s := interrupted(cmd.Context()); s != nil {
				return s
			}
			return err
		},
	}
}

func (e *env) askOwner(ctx context.Context, l *link, name, group string, in bool) error {
	reg, done, err := e.view(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	held, err := reg.Whereis(name)
	if errors.Is(err, registry.ErrNotFound) {
		return e.noSuchName(name, reg.Names())
	}
	if err != nil {
		return err
	}
	owner := *held
	is := func() bool { return slices.Contains(reg.GroupsOf(owner.Instance), group) }
	out := membership{header: head("Membership"), Scope: e.scope, Name: owner.Name, Group: group, Member: in, Changed: is() != in}
	if out.Changed {
		ask := registry.AskToLeave
		if in {
			ask = registry.AskToJoin
		}
		if err := ask(ctx, l.conn, e.scope, owner, group); err != nil {
			return e.notDone(err, owner, group, in)
		}
		for _, err := range reg.Watch(ctx, &registry.WatchOptions{Group: group}) {
			if is() == in {
				break
			}
			if err != nil && !errors.Is(err, registry.ErrLagged) {
				return err
			}
		}
	}
	if is() != in {
		return e.notDone(ctx.Err(), owner, group, in)
	}
	out.Revision = uint64(reg.Revision())
	if e.out.machine() {
		return e.out.document(out)
	}
	if !out.Changed && in {
		e.note("%s is in %s already", out.Name, group)
	} else if !out.Changed {
		e.note("%s is not in %s", out.Name, group)
	}
	return nil
}

// notDone says what the owner did instead.
func (e *env) notDone(err error, owner registry.Record, group string, in bool) error {
	what := "leave " + group
	if in {
		what = "join " + group
	}
	var f *failure
	switch {
	case errors.Is(err, registry.ErrDeclined):
		f = fail(classDeclined, "it may just have lost the name, be about to end, or be of a version that does not do this: toolbus get "+owner.Name,
			"the owner of %q, %s, declined to %s", owner.Name, owner.Holder(), what)
	case classify(err) == classNoAnswer:
		f = fail(classNoAnswer, "toolbus get "+owner.Name+" shows its owner; it may be about to lose its lease",
			"the owner of %q, %s, does not answer", owner.Name, owner.Holder())
	case classify(err) == classTimeout:
		f = fail(classTimeout, "it may still happen: toolbus groups "+group+" shows it; wait longer with --timeout 30s",
			"%q did not %s within %s", owner.Name, what, e.timeout)
	default:
		return err
	}
	f.cause = err
	return f.with("name", owner.Name).with("group", group).with("owner", owner.Holder())
}
