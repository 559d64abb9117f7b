package registrytest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

var choosing = chapter{"choosing", []test{
	{"every strategy chooses a member, and no other", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		for i, r := range rs {
			s := session(t, r)
			join(t, s, "tools", fmt.Sprint("a", i))
			join(t, s, "tools", fmt.Sprint("b", i))
			join(t, s, "other", fmt.Sprint("c", i))
		}
		together(t, rs...)
		for _, name := range []string{"", "random", "round-robin", "hash", "oldest", "local", "least-busy"} {
			by, err := registry.ParseStrategy(name, "key")
			ok(t, err)
			for range 20 {
				m, err := rs[1].Pick("TOOLS", by)
				ok(t, err)
				if m.Group != "tools" || m.Instance[0] == 'c' {
					t.Fatalf("%s chose %+v", name, m)
				}
			}
		}
		m, err := rs[0].Pick("tools", nil)
		ok(t, err)
		if m.Session == "" || m.Token == 0 {
			t.Fatalf("%+v", m)
		}
	}},
	{"all processes agree on the oldest and on the member of a key, and go on with the next when it has gone", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		sessions := map[string]*registry.Session{}
		for i, r := range rs {
			s := session(t, r)
			sessions[s.ID()] = s
			join(t, s, "tools", fmt.Sprint("i", i))
			together(t, rs...)
		}
		for left := len(rs); left > 0; left-- {
			for _, by := range []registry.Strategy{registry.Oldest(), registry.Hash("some key")} {
				want, err := rs[0].Pick("tools", by)
				ok(t, err)
				for _, r := range rs {
					if got, err := r.Pick("tools", by); err != nil || got.Instance != want.Instance {
						t.Fatalf("%+v (%v), and %+v", got, err, want)
					}
				}
			}
			oldest, err := rs[0].Pick("tools", registry.Oldest())
			ok(t, err)
			ok(t, sessions[oldest.Session].Close(within(t)))
			together(t, rs...)
		}
		for _, r := range rs {
			_, err := r.Pick("tools", registry.Oldest())
			wantError(t, err, registry.ErrNoMembers)
		}
	}},
	{"local first", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		for i, r := range rs {
			join(t, session(t, r), "tools", fmt.Sprint("i", i))
		}
		together(t, rs...)
		for i, r := range rs {
			for range 10 {
				m, err := r.Pick("tools", registry.Local(nil))
				ok(t, err)
				if rs[0].Node() != rs[1].Node() && m.Instance != fmt.Sprint("i", i) {
					t.Fatalf("process %d on %s chose %+v", i, r.Node(), m)
				}
			}
			local, err := r.LocalMembers("tools")
			ok(t, err)
			for _, m := range local {
				if m.Node != r.Node() {
					t.Fatalf("%+v is not on %s", m, r.Node())
				}
			}
			n, err := r.MemberCount("tools")
			ok(t, err)
			if n != 2 || len(local) == 0 {
				t.Fatalf("%d members, %d of them local", n, len(local))
			}
		}
	}},
	{"the least busy by what members say, which they change in their place", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		busy := map[string]*registry.Membership{}
		for i := range 3 {
			busy[fmt.Sprint("i", i)] = join(t, s, "tools", fmt.Sprint("i", i))
		}
		say := func(instance, load string) {
			ok(t, busy[instance].Update(within(t), func(metadata map[string]string) { metadata[registry.LoadKey] = load }))
		}
		say("i0", "3")
		say("i1", "2")
		say("i2", "2.5")
		together(t, rs...)
		want := func(instance string) {
			t.Helper()
			m, err := rs[1].Pick("tools", registry.LeastBusy(nil))
			ok(t, err)
			if m.Instance != instance {
				t.Fatalf("%+v, want %s", m, instance)
			}
		}
		want("i1")
		say("i1", "4")
		together(t, rs...)
		want("i2")
		wantMembers(t, rs[1], "tools", "i0", "i1", "i2")
		if m := busy["i1"].Member(); m.Metadata[registry.LoadKey] != "4" || m.Revision <= m.Token {
			t.Fatalf("%+v", m)
		}
		ok(t, busy["i1"].Leave(within(t)))
		if err := busy["i1"].Update(within(t), func(map[string]string) {}); !errors.Is(err, registry.ErrUnregistered) {
			t.Fatalf("update of a membership that is over: %v", err)
		}
	}},
}}
