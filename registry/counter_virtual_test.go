package registry_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// The keeper forgets what dead sessions counted. It does not take a session for dead of which it has only not heard yet.
func TestVirtualCountersOfTheDeadGo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		counters := &kvstore.MemoryCounters{}
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Counters: counters})
		p := w.Start(t, &registrytest.ProcessOptions{Server: "s2", Counters: counters})
		count := func(s *registry.Session, keys ...string) {
			t.Helper()
			for _, key := range keys {
				c, err := s.Counter(key)
				if err == nil {
					_, err = c.Add(t.Context(), 1)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		dead, err := p.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		count(dead, "calls", "errors")
		shared, err := p.SharedCounter("calls")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shared.Add(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		living := own(t, p, registry.Service, "calc").Session()
		count(living, "calls")
		if err := dead.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.Store.DelayFeed(800 * time.Millisecond)
		// A session opens, and counts, just before each time that the keeper looks, so that it always knows the counter before the session.
		young := map[string]*registry.Session{}
		for range 10 {
			time.Sleep(12*time.Second - 100*time.Millisecond)
			s, err := p.NewSession(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			count(s, "calls")
			young[s.ID()] = s
			time.Sleep(100 * time.Millisecond)
		}
		want := []string{"session.calls." + living.ID(), "shared.calls"}
		for id := range young {
			want = append(want, "session.calls."+id)
		}
		slices.Sort(want)
		all, err := counters.List(t.Context(), ">")
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
			t.Fatalf("counters %q, want %q", got, want)
		}
	})
}

// A registry that was opened without counters and a history says so, and counts in its own memory where it is alone.
func TestWithoutCountersAndHistory(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.Start(t, nil)
		s := own(t, p, registry.Service, "calc").Session()
		if _, err := s.Counter("calls"); err != registry.ErrNoCounters {
			t.Fatal(err)
		}
		if _, err := p.SharedCounter("calls"); err != registry.ErrNoCounters {
			t.Fatal(err)
		}
		if _, err := p.Sum(t.Context(), "calls"); err != registry.ErrNoCounters {
			t.Fatal(err)
		}
		if _, err := p.History(t.Context(), "calc"); err != registry.ErrNoHistory {
			t.Fatal(err)
		}
		if _, err := p.At(t.Context(), time.Now()); err != registry.ErrNoHistory {
			t.Fatal(err)
		}
	})
}
