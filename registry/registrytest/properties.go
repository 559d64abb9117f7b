package registrytest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// wantProperties checks all that a session says of itself.
func wantProperties(t testing.TB, r *registry.Registry, s *registry.Session, want map[string]string) {
	t.Helper()
	if got := r.Properties(s.ID()); !maps.Equal(got, want) {
		t.Fatalf("properties %v, want %v", got, want)
	}
}

// wantFound checks who has a property, as value by session.
func wantFound(t testing.TB, r *registry.Registry, key string, want map[*registry.Session]string) {
	t.Helper()
	list, err := r.FindProperty(key)
	ok(t, err)
	got := map[string]string{}
	for i, p := range list {
		got[p.Session] = p.Value
		if p.Key != key || p.Node == "" || p.Revision == 0 || i > 0 && list[i-1].Session >= p.Session {
			t.Fatalf("%+v", list)
		}
	}
	for s, value := range want {
		if got[s.ID()] != value {
			t.Fatalf("%s of %s is %q, want %q", key, s.ID(), got[s.ID()], value)
		}
	}
	n, err := r.CountProperty(key)
	ok(t, err)
	if len(got) != len(want) || n != len(want) {
		t.Fatalf("%d sessions have %s (counted %d), want %d", len(got), key, n, len(want))
	}
}

func set(t testing.TB, s *registry.Session, key, value string) {
	t.Helper()
	ok(t, s.SetProperty(within(t), key, value))
}

var properties = chapter{"properties", []test{
	{"many sessions have the same key, each its own value", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		one, two := session(t, rs[0]), session(t, rs[1])
		set(t, one, "load", "3")
		set(t, one, "zone", "a")
		set(t, two, "LOAD", "5")
		together(t, rs...)
		for _, r := range rs {
			wantFound(t, r, "load", map[*registry.Session]string{one: "3", two: "5"})
			wantFound(t, r, "zone", map[*registry.Session]string{one: "a"})
			wantFound(t, r, "none", nil)
			wantProperties(t, r, one, map[string]string{"load": "3", "zone": "a"})
		}
		value, err := rs[0].Property(two.ID(), "Load")
		if ok(t, err); value != "5" {
			t.Fatal(value)
		}
		_, err = rs[0].Property(two.ID(), "zone")
		wantError(t, err, registry.ErrNotFound)
		_, err = rs[0].Property("nobody", "load")
		wantError(t, err, registry.ErrNotFound)
	}},
	{"the owner sees his own change at once, and the last one stays", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		for _, value := range []string{"1", "", "two\nlines \x00 é", "1"} {
			set(t, s, "k", value)
			if got, err := r.Property(s.ID(), "k"); err != nil || got != value {
				t.Fatalf("%q (%v), want %q", got, err, value)
			}
		}
		ok(t, s.DeleteProperty(within(t), "k"))
		wantProperties(t, r, s, map[string]string{})
		ok(t, s.DeleteProperty(within(t), "k")) // again: nothing
		set(t, s, "k", "anew")
		wantProperties(t, r, s, map[string]string{"k": "anew"})
	}},
	{"all of it is gone with the session, at the instant of its names", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s, other := session(t, rs[0]), session(t, rs[0])
		for i := range 20 {
			set(t, s, fmt.Sprintf("k%d", i), "v")
		}
		set(t, other, "k1", "mine")
		register(t, s, "calc", nil)
		together(t, rs...)
		l := listen(t, rs[1], nil)
		l.until(t, registry.Synced)
		ok(t, s.Close(within(t)))
		var at kvstore.Revision
		for range 21 {
			ev := l.take(t, 1)[0]
			if at == 0 {
				at = ev.Revision
			}
			if ev.Reason != registry.ReasonClosed || ev.Revision != at || ev.Kind != registry.PropertyGone && ev.Kind != registry.Unregistered {
				t.Fatalf("%+v at %d", ev, at)
			}
		}
		together(t, rs...)
		for _, r := range rs {
			wantProperties(t, r, s, map[string]string{})
			wantFound(t, r, "k1", map[*registry.Session]string{other: "mine"})
			wantFound(t, r, "k2", nil)
		}
		wantError(t, s.SetProperty(within(t), "k", "v"), registry.ErrSessionEnded)
		wantError(t, s.DeleteProperty(within(t), "k"), registry.ErrSessionEnded)
	}},
	{"a watch of one key tells its changes, and how many have it", func(t *testing.T, b *Bed) {
		r := b.one(t)
		one, two := session(t, r), session(t, r)
		set(t, one, "busy", "1")
		l := listen(t, r, &registry.WatchOptions{Property: "busy"})
		want := func(kind registry.EventKind, s *registry.Session, value string, holders int) {
			t.Helper()
			ev := l.take(t, 1)[0]
			if ev.Kind != kind || ev.Property.Session != s.ID() || ev.Property.Value != value || ev.Holders != holders || ev.Property.Key != "busy" {
				t.Fatalf("%+v, want %s of %s: %q, %d holders", ev, kind, s.ID(), value, holders)
			}
		}
		want(registry.PropertySet, one, "1", 1)
		l.until(t, registry.Synced)
		set(t, two, "other", "x")
		register(t, two, "calc", nil)
		set(t, two, "busy", "2")
		want(registry.PropertySet, two, "2", 2)
		set(t, one, "busy", "3")
		want(registry.PropertySet, one, "3", 2)
		ok(t, one.DeleteProperty(within(t), "busy"))
		want(registry.PropertyGone, one, "3", 1)
		ok(t, two.Close(within(t)))
		want(registry.PropertyGone, two, "2", 0)
	}},
	{"who waits for the last holder learns of it, however he went", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		ok(t, rs[1].AwaitNone(within(t), "lock")) // there is none
		one, two := session(t, rs[0]), session(t, rs[0])
		set(t, one, "lock", "")
		set(t, two, "lock", "")
		together(t, rs...)
		none := make(chan error, 1)
		go func() { none <- rs[1].AwaitNone(within(t), "LOCK") }()
		ok(t, one.DeleteProperty(within(t), "lock"))
		together(t, rs...)
		select {
		case err := <-none:
			t.Fatalf("%v while one has it", err)
		default:
		}
		ok(t, two.Close(within(t)))
		ok(t, receive(t, none, "the last has gone"))
		set(t, session(t, rs[0]), "lock", "")
		together(t, rs...)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { none <- rs[1].AwaitNone(ctx, "lock") }()
		cancel()
		wantError(t, receive(t, none, "the wait is given up"), context.Canceled)
	}},
	{"changes by many at once are one after the other", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				value := fmt.Sprint(i)
				if err := s.SetProperty(within(t), "k", value); err != nil {
					t.Error(err)
				}
				if i%4 == 0 {
					if err := s.DeleteProperty(within(t), "other"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if list, err := r.FindProperty("k"); err != nil || len(list) != 1 {
			t.Fatalf("%+v %v", list, err)
		}
	}},
	{"what is no key is refused", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		for _, bad := range []string{"", "a.b", "a b", "*", ">", "-a", "a_b", strings.Repeat("a", 64)} {
			wantError(t, s.SetProperty(within(t), bad, ""), registry.ErrBadName)
			wantError(t, s.DeleteProperty(within(t), bad), registry.ErrBadName)
			_, err := r.Property(s.ID(), bad)
			wantError(t, err, registry.ErrBadName)
			_, err = r.FindProperty(bad)
			wantError(t, err, registry.ErrBadName)
			if bad != "" { // that is every key
				for _, err := range r.Watch(within(t), &registry.WatchOptions{Property: bad}) {
					wantError(t, err, registry.ErrBadName)
				}
			}
		}
		wantError(t, s.SetProperty(within(t), "k", strings.Repeat("x", kvstore.MaxValue+1)), kvstore.ErrTooLarge)
		wantProperties(t, r, s, map[string]string{})
		set(t, s, strings.Repeat("a", 63), "v")
	}},
	{"a change whose outcome is unknown is made once", func(t *testing.T, b *Bed) {
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			s := session(t, r)
			for _, value := range []string{"one", "two"} { // new, then over its own
				way.OnWrite(once(func() Fate { return fate }, "properties."))
				l := listen(t, r, &registry.WatchOptions{Property: "k"})
				l.until(t, registry.Synced)
				set(t, s, "k", value)
				wantProperties(t, r, s, map[string]string{"k": value})
				time.Sleep(fate.Late + 100*time.Millisecond) // a late write has come by now, and is refused
				if n := len(l.events); n != 1 {
					t.Fatalf("%q was set %d times", value, n)
				}
			}
			way.OnWrite(once(func() Fate { return fate }, "properties."))
			ok(t, s.DeleteProperty(within(t), "k"))
			wantProperties(t, r, s, map[string]string{})
		})
	}},
	{"one whose caller has left does not stay", func(t *testing.T, b *Bed) {
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			s := session(t, r)
			ctx, cancel := context.WithCancel(within(t))
			way.OnWrite(once(func() Fate { cancel(); return fate }, "properties."))
			if err := s.SetProperty(ctx, "k", "late"); err == nil {
				return // it was known before the context was looked at
			}
			time.Sleep(fate.Late + 2*time.Second) // a late write has come by now, and must go again
			eventually(t, "nothing is left of it", func() bool {
				ok(t, r.Refresh(within(t)))
				return len(r.Properties(s.ID())) == 0
			})
			set(t, s, "k", "wanted")
			wantProperties(t, r, s, map[string]string{"k": "wanted"})
		})
	}},
}}
