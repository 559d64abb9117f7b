package registrytest

import (
	"slices"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

var groups = chapter{"groups", []test{
	{"many groups for a session, many members for a group, oldest first", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		one, two := session(t, rs[0]), session(t, rs[1])
		join(t, one, "tools", "z")
		together(t, rs...)
		join(t, two, "tools", "a")
		together(t, rs...)
		join(t, one, "tools", "m")
		join(t, one, "team-a.prompts", "z")
		join(t, one, "tools", "")
		together(t, rs...)
		for _, r := range rs {
			wantMembers(t, r, "tools", "z", "a", "m", one.ID())
			wantMembers(t, r, "team-a.prompts", "z")
			if got := r.Groups(); !slices.Equal(got, []string{"team-a.prompts", "tools"}) {
				t.Fatalf("groups %q", got)
			}
			if got := r.GroupsOf("z"); !slices.Equal(got, []string{"team-a.prompts", "tools"}) {
				t.Fatalf("groups of z %q", got)
			}
		}
	}},
	{"what a member says is shown", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		reg := register(t, s, "calc", &registry.RegisterOptions{Instance: "i"})
		m, err := reg.Join(within(t), "Tools", &registry.JoinOptions{Metadata: map[string]string{"w": "3"}})
		ok(t, err)
		if m.Group() != "tools" || m.Err() != nil {
			t.Fatalf("%q %v", m.Group(), m.Err())
		}
		members, err := r.Members("TOOLS")
		ok(t, err)
		if len(members) != 1 || members[0].Metadata["w"] != "3" || members[0].Name != "calc" || members[0].Instance != "i" ||
			members[0].Session != s.ID() || members[0].Since.IsZero() || members[0].Group != "tools" || members[0].Revision == 0 {
			t.Fatalf("%+v", members)
		}
	}},
	{"joining again is ok and changes nothing", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		join(t, s, "tools", "a")
		before, err := r.Members("tools")
		ok(t, err)
		join(t, s, "TOOLS", "a")
		after, err := r.Members("tools")
		ok(t, err)
		if len(after) != 1 || after[0].Revision != before[0].Revision {
			t.Fatalf("%+v, then %+v", before, after)
		}
	}},
	{"a member leaves, and an empty group is gone", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		one, two := join(t, s, "tools", "a"), join(t, s, "tools", "b")
		ok(t, one.Leave(within(t)))
		wantMembers(t, r, "tools", "b")
		wantError(t, one.Err(), registry.ErrUnregistered)
		receive(t, one.Done(), "the membership is done")
		ok(t, one.Leave(within(t)))
		ok(t, two.Leave(within(t)))
		wantMembers(t, r, "tools")
		if got := r.Groups(); len(got) != 0 {
			t.Fatalf("groups %q", got)
		}
		join(t, s, "tools", "a")
		wantMembers(t, r, "tools", "a")
	}},
	{"a membership that is over cannot end the next one", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		old := join(t, s, "tools", "a")
		ok(t, old.Leave(within(t)))
		join(t, s, "tools", "a")
		ok(t, old.Leave(within(t)))
		wantMembers(t, r, "tools", "a")
	}},
	{"groups come in the step of the name", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		events := listen(t, rs[1], nil)
		events.until(t, registry.Synced)
		register(t, session(t, rs[0]), "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools", "Prompts", "tools"}})
		got := events.take(t, 3)
		for _, ev := range got {
			if ev.Revision != got[0].Revision {
				t.Fatalf("several steps: %+v", got)
			}
		}
		wantMembers(t, rs[1], "tools", "i")
		wantMembers(t, rs[1], "prompts", "i")
		rec, err := rs[1].Describe("calc")
		ok(t, err)
		if want := []string{"prompts", "tools"}; !slices.Equal(rec.Groups, want) || !slices.Equal(rs[1].List()[0].Groups, want) {
			t.Fatalf("groups %q", rec.Groups)
		}
	}},
	{"a name that is not got brings no group", func(t *testing.T, b *Bed) {
		r := b.one(t)
		register(t, session(t, r), "calc", nil)
		_, err := session(t, r).Register(within(t), "calc", &registry.RegisterOptions{Groups: []string{"tools"}})
		wantError(t, err, registry.ErrNameTaken)
		ok(t, r.Refresh(within(t)))
		wantMembers(t, r, "tools")
	}},
	{"unregister leaves every group of the instance, in one step", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}})
		m := join(t, s, "extra", "i")
		join(t, s, "tools", "j")
		together(t, rs...)
		events := listen(t, rs[1], nil)
		events.until(t, registry.Synced)
		ok(t, reg.Unregister(within(t)))
		got := events.take(t, 3)
		for _, ev := range got {
			if ev.Revision != got[0].Revision || ev.Kind != registry.Left && ev.Kind != registry.Unregistered || ev.Reason != registry.ReasonUnregistered {
				t.Fatalf("%+v", got)
			}
		}
		wantError(t, m.Err(), registry.ErrUnregistered)
		wantMembers(t, rs[1], "tools", "j")
		wantMembers(t, rs[1], "extra")
	}},
	{"a registration joins and leaves", func(t *testing.T, b *Bed) {
		r := b.one(t)
		reg := register(t, session(t, r), "calc", &registry.RegisterOptions{Instance: "i"})
		_, err := reg.Join(within(t), "tools", nil)
		ok(t, err)
		wantMembers(t, r, "tools", "i")
		ok(t, reg.Leave(within(t), "Tools"))
		wantMembers(t, r, "tools")
		ok(t, reg.Leave(within(t), "tools"))
		ok(t, reg.Leave(within(t), "never"))
	}},
	{"an instance that another session hosts is refused", func(t *testing.T, b *Bed) {
		r := b.one(t)
		join(t, session(t, r), "tools", "i")
		other := session(t, r)
		_, err := other.Join(within(t), "tools", &registry.JoinOptions{Instance: "i"})
		wantError(t, err, registry.ErrNameTaken)
		join(t, other, "tools", "j")
		wantMembers(t, r, "tools", "i", "j")
	}},
}}
