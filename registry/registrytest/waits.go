package registrytest

import (
	"context"
	"testing"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// successions collects what Follow tells.
func successions(t testing.TB, r *registry.Registry, name string) (told chan registry.Succession, end chan error) {
	told, end = make(chan registry.Succession, 1000), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s, err := range r.Follow(ctx, name) {
			if err != nil {
				end <- err
				return
			}
			told <- s
		}
		end <- nil
	}()
	t.Cleanup(func() { cancel(); <-done })
	return told, end
}

var waits = chapter{"await and follow", []test{
	{"await returns at once what is held, and else waits for it", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "here", nil)
		together(t, rs...)
		rec, err := rs[1].Await(within(t), "HERE")
		ok(t, err)
		if rec.Token != reg.Token() {
			t.Fatalf("%+v", rec)
		}
		got := make(chan registry.Record, 1)
		waiting := make(chan struct{})
		go func() {
			close(waiting)
			rec, err := rs[1].Await(within(t), "there")
			if err != nil {
				t.Error(err)
			}
			got <- rec
		}()
		<-waiting
		register(t, s, "elsewhere", nil)
		reg = register(t, s, "there", &registry.RegisterOptions{Kind: "k"})
		if rec := receive(t, got, "the name is awaited"); rec.Token != reg.Token() || rec.Kind != "k" {
			t.Fatalf("%+v", rec)
		}
	}},
	{"await many times, whatever else happens", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		for range 30 {
			got := make(chan error, 1)
			go func() {
				_, err := rs[1].Await(within(t), "calc")
				got <- err
			}()
			reg := register(t, s, "calc", nil)
			ok(t, receive(t, got, "the name is awaited"))
			ok(t, reg.Unregister(within(t)))
			together(t, rs...)
		}
	}},
	{"await in vain", func(t *testing.T, b *Bed) {
		r := b.one(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		_, err := r.Await(ctx, "nobody")
		wantError(t, err, registry.ErrNotFound)
		wantError(t, err, context.DeadlineExceeded)
		_, err = r.Await(within(t), "no body")
		wantError(t, err, registry.ErrBadName)
		_, err = r.AwaitAny(within(t))
		wantError(t, err, registry.ErrBadName)
		ended := make(chan error, 1)
		go func() {
			_, err := r.Await(within(t), "nobody")
			ended <- err
		}()
		ok(t, r.Close(within(t)))
		wantError(t, receive(t, ended, "the wait ends with the registry"), registry.ErrClosed)
	}},
	{"the first of several", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		got := make(chan registry.Record, 1)
		go func() {
			rec, err := rs[1].AwaitAny(within(t), "a", "b", "c")
			if err != nil {
				t.Error(err)
			}
			got <- rec
		}()
		register(t, s, "d", nil)
		register(t, s, "b", nil)
		if rec := receive(t, got, "one of the names"); rec.Name != "b" {
			t.Fatalf("%+v", rec)
		}
		register(t, s, "c", nil)
		together(t, rs...)
		rec, err := rs[1].AwaitAny(within(t), "a", "c", "b")
		ok(t, err)
		if rec.Name != "c" {
			t.Fatalf("%+v: c was named before b", rec)
		}
	}},
	{"follow tells each owner, and why the one before is gone", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		told, _ := successions(t, rs[1], "CALC")
		next := func(what string) registry.Succession { return receive(t, told, what) }
		if s := next("nobody at first"); s.Held || s.Name != "calc" || s.Before.Name != "" || s.Reason != "" || s.Collapsed {
			t.Fatalf("%+v", s)
		}
		one := session(t, rs[0])
		reg := register(t, one, "calc", nil)
		if s := next("the first owner"); !s.Held || s.Owner.Token != reg.Token() || s.Before.Name != "" || s.Reason != "" || s.Revision != reg.Token() {
			t.Fatalf("%+v", s)
		}
		ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Kind = "new" })) // which is no other owner
		ok(t, reg.Unregister(within(t)))
		if s := next("its end"); s.Held || s.Before.Token != reg.Token() || s.Reason != registry.ReasonUnregistered || s.Owner.Name != "" {
			t.Fatalf("%+v", s)
		}
		reg = register(t, one, "calc", nil)
		next("the second owner")
		two := session(t, rs[1])
		standby, err := two.StandBy(within(t), "calc", nil)
		ok(t, err)
		together(t, rs...)
		ok(t, one.Close(within(t)))
		_, err = standby.Wait(within(t))
		ok(t, err)
		s := next("the end of the session")
		if s.Before.Token != reg.Token() || s.Reason != registry.ReasonClosed {
			t.Fatalf("%+v", s)
		}
		if !s.Held {
			s = next("the standby")
		}
		if !s.Held || s.Owner.Session != two.ID() || s.Owner.Token <= reg.Token() {
			t.Fatalf("%+v", s)
		}
		together(t, rs...)
		again, _ := successions(t, rs[0], "calc")
		if first := receive(t, again, "who holds it"); first.Owner.Token != s.Owner.Token || first.Before.Name != "" {
			t.Fatalf("%+v", first)
		}
	}},
	{"follow tells a transfer as one change", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		one := session(t, rs[0])
		two, err := rs[0].NewSession(within(t), &registry.SessionOptions{Receiver: &registry.Receiver{Received: func(*registry.Registration) {}}})
		ok(t, err)
		reg := register(t, one, "calc", nil)
		together(t, rs...)
		told, _ := successions(t, rs[1], "calc")
		receive(t, told, "the first owner")
		ok(t, reg.Transfer(within(t), two.ID()))
		s := receive(t, told, "the transfer")
		if !s.Held || s.Owner.Session != two.ID() || s.Before.Session != one.ID() || s.Reason != registry.ReasonTransferred {
			t.Fatalf("%+v", s)
		}
	}},
	{"a reader of follow that is slow misses no more than what was in between", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		var last registry.Succession
		told, collapsed := 0, 0
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for next, err := range r.Follow(ctx, "calc") {
			ok(t, err)
			if told++; told == 1 { // while this loop's body runs, nothing is read
				for range 50 {
					ok(t, register(t, s, "calc", nil).Unregister(within(t)))
				}
				register(t, s, "calc", nil)
			}
			if last = next; next.Collapsed {
				collapsed++
			}
			if now, err := r.Whereis("calc"); err == nil && next.Held && now.Token == next.Owner.Token {
				break
			}
		}
		if !last.Held || collapsed == 0 || told > 102 {
			t.Fatalf("%d were told, %d collapsed, the last %+v", told, collapsed, last)
		}
	}},
	{"follow of what is no name, and of a registry that is closed", func(t *testing.T, b *Bed) {
		r := b.one(t)
		_, end := successions(t, r, "a b")
		wantError(t, receive(t, end, "the end"), registry.ErrBadName)
		told, end := successions(t, r, "a")
		receive(t, told, "nobody")
		ok(t, r.Close(within(t)))
		wantError(t, receive(t, end, "the end"), registry.ErrClosed)
	}},
}}
