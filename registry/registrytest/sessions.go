package registrytest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/toolbus/toolbus/registry"
)

var sessions = chapter{"sessions", []test{
	{"close frees all of it at one instant, everywhere", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		var regs []*registry.Registration
		for i := range 20 {
			regs = append(regs, register(t, s, fmt.Sprintf("n%d", i), &registry.RegisterOptions{Instance: fmt.Sprintf("i%d", i), Groups: []string{"tools"}}))
		}
		m := join(t, s, "extra", "i0")
		together(t, rs...)
		events := listen(t, rs[1], nil)
		events.until(t, registry.Synced)
		ok(t, s.Close(within(t)))
		wantNames(t, rs[0])
		got := events.take(t, 41)
		for _, ev := range got {
			if ev.Revision != got[0].Revision || ev.Reason != registry.ReasonClosed {
				t.Fatalf("not one step, or another reason: %+v and %+v", got[0], ev)
			}
		}
		wantNames(t, rs[1])
		if len(rs[1].Groups()) != 0 {
			t.Fatal("a group is left")
		}
		receive(t, s.Done(), "the session is done")
		wantEnded(t, s.Err(), s.ID(), registry.ReasonClosed)
		for _, reg := range regs {
			receive(t, reg.Done(), "its registrations are done")
			wantEnded(t, reg.Err(), s.ID(), registry.ReasonClosed)
			if reg.Serving() {
				t.Fatal("one still serves")
			}
		}
		wantEnded(t, m.Err(), s.ID(), registry.ReasonClosed)
	}},
	{"a closed session is never valid and claims nothing", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		if !s.Valid() || s.Err() != nil || s.ID() == "" || s.Mode() != registry.Service {
			t.Fatalf("a new session: %v %v %q", s.Valid(), s.Err(), s.Mode())
		}
		ok(t, s.Close(within(t)))
		ok(t, s.Close(within(t)))
		if s.Valid() {
			t.Fatal("it is valid")
		}
		_, err := s.Register(within(t), "calc", nil)
		wantEnded(t, err, s.ID(), registry.ReasonClosed)
		_, err = s.Join(within(t), "tools", nil)
		wantEnded(t, err, s.ID(), registry.ReasonClosed)
	}},
	{"many sessions of one process live and end apart", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		ss := many(t, rs[:1], 30)
		for i, s := range ss {
			register(t, s, fmt.Sprintf("n%d", i), nil)
		}
		for i, s := range ss {
			if i%2 == 0 {
				ok(t, s.Close(within(t)))
			}
		}
		together(t, rs...)
		for i, s := range ss {
			name := fmt.Sprintf("n%d", i)
			if i%2 == 0 {
				wantFree(t, rs[1], name)
			} else {
				wantHeld(t, rs[1], name, s)
			}
		}
	}},
	{"a lease is shown", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s, err := rs[0].NewSession(within(t), &registry.SessionOptions{Mode: registry.Strict})
		ok(t, err)
		together(t, rs...)
		l, there := rs[1].Lease(s.ID())
		if !there || l.Session != s.ID() || l.Mode != registry.Strict || l.Process == "" || l.Started.IsZero() || l.PID == 0 || l.Node == "" || l.Revision == 0 {
			t.Fatalf("%v %+v", there, l)
		}
		if all := rs[1].Leases(); len(all) != 1 || all[0].Session != s.ID() {
			t.Fatalf("%+v", all)
		}
		ok(t, s.Close(within(t)))
		together(t, rs...)
		if _, there := rs[1].Lease(s.ID()); there {
			t.Fatal("it is there after its end")
		}
	}},
	{"a session that replaces another ends it in the step that opens itself", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		old := session(t, rs[0])
		register(t, old, "calc", nil)
		together(t, rs...)
		down, err := rs[1].MonitorSession(within(t), old.ID())
		ok(t, err)
		s, err := rs[0].NewSession(within(t), &registry.SessionOptions{Replaces: old})
		ok(t, err)
		wantEnded(t, old.Err(), old.ID(), registry.ReasonReplaced)
		if d := receive(t, down, "the old one ends"); d.Reason != registry.ReasonReplaced {
			t.Fatalf("%+v", d)
		}
		together(t, rs...)
		l, there := rs[1].Lease(s.ID())
		if _, still := rs[1].Lease(old.ID()); !there || still {
			t.Fatalf("new %v, old %v", there, still)
		}
		// The end of the old one is the entry after the new one's first: of the same batch.
		wantFree(t, rs[1], "calc")
		if reg := register(t, s, "calc", nil); reg.Token() <= l.Revision {
			t.Fatalf("token %d, lease %d", reg.Token(), l.Revision)
		}
	}},
	{"one can replace a session that is over", func(t *testing.T, b *Bed) {
		r := b.one(t)
		old := session(t, r)
		ok(t, old.Close(within(t)))
		s, err := r.NewSession(within(t), &registry.SessionOptions{Replaces: old})
		ok(t, err)
		wantEnded(t, old.Err(), old.ID(), registry.ReasonClosed)
		register(t, s, "calc", nil)
	}},
	{"a closed registry has ended its sessions", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", nil)
		other := register(t, session(t, rs[1]), "other", nil)
		down, err := rs[1].MonitorSession(within(t), s.ID())
		if err != nil {
			together(t, rs...)
			down, err = rs[1].MonitorSession(within(t), s.ID())
			ok(t, err)
		}
		ok(t, rs[0].Close(within(t)))
		if d := receive(t, down, "the session ends"); d.Reason != registry.ReasonClosed {
			t.Fatalf("%+v", d)
		}
		wantError(t, reg.Err(), registry.ErrSessionEnded)
		_, err = rs[0].NewSession(within(t), nil)
		wantError(t, err, registry.ErrClosed)
		wantError(t, rs[0].WaitFor(within(t), rs[0].Revision()+1000), registry.ErrClosed)
		ok(t, rs[0].Close(within(t)))
		if !other.Serving() {
			t.Fatal("the other process was disturbed")
		}
	}},
	{"a close that cannot wait is finished by others", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		register(t, s, "calc", nil)
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Close(gone); err == nil {
			t.Fatal("it was closed with a context that had ended")
		}
		if s.Valid() {
			t.Fatal("valid after the end was asked for")
		}
		eventually(t, "the session is ended", func() bool { _, there := rs[1].Lease(s.ID()); return !there })
		wantFree(t, rs[1], "calc")
	}},
	{"a context that has ended opens nothing", func(t *testing.T, b *Bed) {
		r := b.one(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.NewSession(ctx, nil); err == nil {
			t.Fatal("a session")
		}
		s := session(t, r)
		if _, err := s.Register(ctx, "calc", nil); err == nil {
			t.Fatal("a name")
		}
		ok(t, r.Refresh(within(t)))
		eventually(t, "nothing is left", func() bool { return len(r.Leases()) == 1 && len(r.Names()) == 0 })
		register(t, s, "calc", nil)
	}},
	{"a session stays for as long as its process lives", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", nil)
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if !reg.Serving() || s.Err() != nil {
				t.Fatalf("serving %v, session %v", reg.Serving(), s.Err())
			}
		}
		wantHeld(t, rs[1], "calc", s)
	}},
}}
