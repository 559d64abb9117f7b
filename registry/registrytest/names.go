package registrytest

import (
	"strings"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

var names = chapter{"names", []test{
	{"a name has one owner, and every process sees him", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		s := session(t, rs[0])
		reg := register(t, s, "calc", &registry.RegisterOptions{
			Instance: "i1", Kind: "tool", Address: "http://127.0.0.1:1", Metadata: map[string]string{"m": "1"}, Labels: map[string]string{"l": "2"},
		})
		if !reg.Serving() || reg.Name() != "calc" || reg.Instance() != "i1" || reg.Session() != s || reg.Err() != nil {
			t.Fatalf("%+v serving %v", reg.Record(), reg.Serving())
		}
		together(t, rs...)
		for _, r := range rs {
			rec := wantHeld(t, r, "calc", s)
			if rec.Instance != "i1" || rec.Kind != "tool" || rec.Address != "http://127.0.0.1:1" || rec.Metadata["m"] != "1" || rec.Labels["l"] != "2" ||
				rec.Token != reg.Token() || rec.Token == 0 || rec.Revision != rec.Token || rec.Since.IsZero() || rec.PID == 0 || rec.Node == "" {
				t.Fatalf("%+v", rec)
			}
			wantNames(t, r, "calc")
			if rec, err := r.Instance("i1"); err != nil || rec.Name != "calc" {
				t.Fatalf("instance: %+v %v", rec, err)
			}
		}
	}},
	{"registering again what one holds is ok and changes nothing", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		reg := register(t, s, "calc", nil)
		again := register(t, s, "CALC", nil)
		if again.Token() != reg.Token() || again.Record().Revision != reg.Record().Revision {
			t.Fatalf("%+v, then %+v", reg.Record(), again.Record())
		}
		_, err := s.Register(within(t), "calc", &registry.RegisterOptions{Instance: "another"})
		wantTaken(t, err, reg)
	}},
	{"unregister frees the name, for the caller at once", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", nil)
		ok(t, reg.Unregister(within(t)))
		wantFree(t, rs[0], "calc")
		wantError(t, reg.Err(), registry.ErrUnregistered)
		receive(t, reg.Done(), "the registration is done")
		if reg.Serving() {
			t.Fatal("it serves still")
		}
		ok(t, reg.Unregister(within(t))) // again: nothing
		together(t, rs...)
		wantFree(t, rs[1], "calc")
		if s.Err() != nil || !s.Valid() {
			t.Fatalf("the session: %v", s.Err())
		}
		register(t, s, "calc", nil)
	}},
	{"a registration that is over cannot take the next one's name away", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		first := session(t, rs[0])
		old := register(t, first, "calc", nil)
		ok(t, old.Unregister(within(t)))
		together(t, rs...)
		second := session(t, rs[1])
		reg := register(t, second, "calc", nil)
		ok(t, old.Unregister(within(t)))
		wantError(t, old.Update(within(t), func(*registry.Record) {}), registry.ErrUnregistered)
		ok(t, first.Close(within(t)))
		together(t, rs...)
		wantHeld(t, rs[0], "calc", second)
		if !reg.Serving() {
			t.Fatal("the successor does not serve")
		}
	}},
	{"tokens grow with each claim", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		last := register(t, session(t, rs[0]), "other", nil).Token()
		for i := range 6 {
			s := session(t, rs[i%2])
			reg := register(t, s, "calc", nil)
			if reg.Token() <= last {
				t.Fatalf("token %d after %d", reg.Token(), last)
			}
			last = reg.Token()
			if i%3 == 0 {
				ok(t, s.Close(within(t)))
			} else {
				ok(t, reg.Unregister(within(t)))
			}
			together(t, rs...)
		}
	}},
	{"upper case is the same name", func(t *testing.T, b *Bed) {
		r := b.one(t)
		reg := register(t, session(t, r), "Calc.Main", nil)
		if reg.Name() != "calc.main" {
			t.Fatal(reg.Name())
		}
		_, err := session(t, r).Register(within(t), "cALC.mAIN", nil)
		wantTaken(t, err, reg)
		if _, err := r.Whereis("CALC.MAIN"); err != nil {
			t.Fatal(err)
		}
		wantNames(t, r, "calc.main")
	}},
	{"what is no name is refused, and nothing is written", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		before := r.Leases()
		for _, bad := range []string{
			"", ".", "a..b", ".a", "a.", "a b", "a*", "a>", "-a", "a-", "a_b", "é", "a/b", "a\n", strings.Repeat("a", 64),
			strings.Repeat("a.", 8) + "a", strings.Repeat("abcdefgh.", 14) + "abc",
		} {
			_, err := s.Register(within(t), bad, nil)
			wantError(t, err, registry.ErrBadName)
			_, err = s.Join(within(t), bad, nil)
			wantError(t, err, registry.ErrBadName)
			_, err = r.Whereis(bad)
			wantError(t, err, registry.ErrBadName)
			_, err = r.Members(bad)
			wantError(t, err, registry.ErrBadName)
			_, err = r.Monitor(within(t), bad)
			wantError(t, err, registry.ErrBadName)
			_, err = s.Register(within(t), "good", &registry.RegisterOptions{Groups: []string{bad}})
			wantError(t, err, registry.ErrBadName)
		}
		for _, bad := range []string{"a.b", "a b", "é", "a>", strings.Repeat("a", 64)} {
			_, err := s.Register(within(t), "good", &registry.RegisterOptions{Instance: bad})
			wantError(t, err, registry.ErrBadName)
			_, err = s.Join(within(t), "good", &registry.JoinOptions{Instance: bad})
			wantError(t, err, registry.ErrBadName)
		}
		ok(t, r.Refresh(within(t)))
		if wantNames(t, r); len(r.Groups()) != 0 || len(before) != len(r.Leases()) {
			t.Fatal("something was written")
		}
	}},
	{"the longest names, with dots, as names and as groups", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "."
		long += strings.Repeat("c", 128-len(long))
		if long = long[:128]; strings.HasSuffix(long, ".") {
			long = long[:127]
		}
		for _, name := range []string{long, "a.b.c.d.e.f.g.h", "0", "team-a.weather", "team-a"} {
			register(t, s, name, &registry.RegisterOptions{Groups: []string{name}, Instance: strings.Repeat("X", 63)})
			wantHeld(t, r, name, s)
			wantMembers(t, r, name, strings.Repeat("X", 63))
		}
	}},
	{"names with a common beginning are strangers", func(t *testing.T, b *Bed) {
		r := b.one(t)
		one, two := session(t, r), session(t, r)
		reg := register(t, one, "a", nil)
		register(t, two, "a.b", nil)
		register(t, one, "a.b.c", nil)
		ok(t, reg.Unregister(within(t)))
		wantNames(t, r, "a.b", "a.b.c")
		ok(t, two.Close(within(t)))
		wantNames(t, r, "a.b.c")
	}},
	{"an instance may have several names, and keeps one when another goes", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		one := register(t, s, "one", &registry.RegisterOptions{Instance: "i"})
		register(t, s, "two", &registry.RegisterOptions{Instance: "i"})
		ok(t, one.Unregister(within(t)))
		if rec, err := r.Instance("i"); err != nil || rec.Name != "two" {
			t.Fatalf("the instance is %+v (%v)", rec, err)
		}
	}},
}}
