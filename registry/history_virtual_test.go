package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// transitions reads what was written.
func transitions(t *testing.T, h kvstore.History) (out []registry.Transition) {
	t.Helper()
	for l, err := range h.Read(t.Context(), "", time.Time{}) {
		var tr registry.Transition
		if err == nil {
			err = json.Unmarshal(l.Value, &tr)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tr)
	}
	return out
}

// told says a transition in one line.
func told(tr registry.Transition) string {
	text := fmt.Sprintf("%s %s", tr.Name, tr.Kind)
	if tr.Reason != "" {
		text += " " + string(tr.Reason)
	}
	if tr.Collapsed {
		text += ", collapsed"
	}
	return text
}

func wantTold(t *testing.T, h kvstore.History, want ...string) {
	t.Helper()
	var got []string
	for _, tr := range transitions(t, h) {
		got = append(got, told(tr))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("the history has\n%q, want\n%q", got, want)
	}
}

// Three nodes write the same history, and each of its lines is there once, also where one entry ends many names.
func TestVirtualHistoryIsWrittenOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := kvstore.NewMemoryHistory(nil)
		for i := range 3 {
			w.Start(t, &registrytest.ProcessOptions{Server: fmt.Sprintf("s%d", i), Role: registry.Node, History: h})
		}
		settle() // what is there before they look is marked
		p := w.Start(t, nil)
		s, err := p.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 200 {
			name := fmt.Sprintf("n%d", i)
			if _, err := s.Register(t.Context(), name, nil); err != nil {
				t.Fatal(err)
			}
			want = append(want, name+" registered", name+" unregistered closed")
		}
		time.Sleep(time.Second)
		if n := len(transitions(t, h)); n != 200 {
			t.Fatalf("%d lines of 200 names", n)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantTold(t, h, want...)
		end := transitions(t, h)[200].Revision
		for _, tr := range transitions(t, h)[200:] {
			if tr.Revision != end || tr.Session != s.ID() || tr.At.IsZero() || tr.By == "" {
				t.Fatalf("%+v, of the entry at %d", tr, end)
			}
		}
	})
}

// A writer that starts writes what happened while nobody wrote, marked as collapsed, and nothing that is there already.
func TestVirtualHistoryCatchesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := kvstore.NewMemoryHistory(nil)
		first := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, History: h})
		settle()
		p := w.Start(t, nil)
		regs := map[string]*registry.Registration{}
		for _, name := range []string{"stays", "leaves", "moves", "vanishes"} {
			regs[name] = own(t, p, registry.Service, name)
		}
		time.Sleep(time.Second)
		lines := []string{"stays registered", "leaves registered", "moves registered", "vanishes registered"}
		wantTold(t, h, lines...)
		first.Kill()

		leave := func(name string) {
			t.Helper()
			if err := regs[name].Unregister(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		leave("leaves")
		left := time.Now()
		leave("moves")
		moved := own(t, p, registry.Service, "moves")
		own(t, p, registry.Service, "arrives")
		leave("vanishes")
		w.Log.Purge("names.vanishes") // a tombstone that is old vanishes without an entry
		time.Sleep(time.Minute)

		second := w.Start(t, &registrytest.ProcessOptions{Server: "s2", Role: registry.Node, History: h})
		time.Sleep(time.Second)
		lines = append(lines, "leaves unregistered unregistered, collapsed", "moves unregistered replaced, collapsed", "moves registered, collapsed",
			"arrives registered, collapsed", "vanishes unregistered unseen, collapsed")
		wantTold(t, h, lines...)
		past, err := second.History(t.Context(), "moves")
		if err != nil || len(past.Intervals) != 2 || past.Intervals[1].Token != moved.Token() || !past.Intervals[1].Held || !past.Intervals[0].Collapsed {
			t.Fatalf("%+v %v", past, err)
		}
		past, err = second.History(t.Context(), "leaves")
		if err != nil || len(past.Intervals) != 1 || past.Intervals[0].To.Sub(left).Abs() > time.Second {
			t.Fatalf("%+v (%v): it left at %v", past, err, left)
		}
		third := w.Start(t, &registrytest.ProcessOptions{Server: "s3", Role: registry.Node, History: h})
		time.Sleep(5 * time.Minute) // the ids are forgotten by now
		third.Kill()
		w.Start(t, &registrytest.ProcessOptions{Server: "s4", Role: registry.Node, History: h})
		time.Sleep(time.Second)
		wantTold(t, h, lines...)
	})
}

// Without nodes it is the keeper who writes, and the next one goes on where he stopped.
func TestVirtualHistoryIsTheKeepers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := kvstore.NewMemoryHistory(nil)
		one := w.Start(t, &registrytest.ProcessOptions{Node: "one", History: h})
		w.Start(t, &registrytest.ProcessOptions{Node: "two", History: h})
		w.Start(t, &registrytest.ProcessOptions{Node: "cli", History: h, Role: registry.Never})
		own(t, one, registry.Service, "a")
		time.Sleep(5 * time.Second)
		k, _ := one.Keeper()
		written := transitions(t, h)
		if len(written) != 1 || written[0].By != k.Node {
			t.Fatalf("%+v, kept by %q", written, k.Node)
		}
		other := w.Start(t, nil)
		own(t, other, registry.Service, "b")
		one.Kill()
		time.Sleep(time.Minute)
		lines := []string{}
		for _, tr := range transitions(t, h) {
			lines = append(lines, tr.Name+" "+string(tr.Kind))
			if tr.By == "cli" {
				t.Fatalf("a command wrote %+v", tr)
			}
		}
		slices.Sort(lines)
		if !slices.Equal(lines, []string{"a registered", "a unregistered", "b registered"}) {
			t.Fatalf("%q", lines)
		}
	})
}

// deafHistory takes nothing for a time.
type deafHistory struct {
	kvstore.History
	deaf atomic.Bool
}

func (d *deafHistory) Append(ctx context.Context, lines []kvstore.Line) error {
	if d.deaf.Load() {
		if len(lines)%2 == 0 { // some of it came, as in any outage
			_ = d.History.Append(ctx, lines[:len(lines)/2])
		}
		return errors.Join(kvstore.ErrUnknown, errors.New("no leader"))
	}
	return d.History.Append(ctx, lines)
}

// What cannot be written now is written later: nothing is missing, nothing twice, nothing marked.
func TestVirtualHistorySurvivesAnOutage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := &deafHistory{History: kvstore.NewMemoryHistory(nil)}
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, History: h})
		p := w.Start(t, nil)
		settle()
		own(t, p, registry.Service, "before")
		time.Sleep(time.Second)
		h.deaf.Store(true)
		reg := own(t, p, registry.Service, "during")
		time.Sleep(10 * time.Second)
		if err := reg.Unregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		own(t, p, registry.Service, "during")
		time.Sleep(30 * time.Second)
		wantTold(t, h, "before registered")
		h.deaf.Store(false)
		time.Sleep(5 * time.Second)
		wantTold(t, h, "before registered", "during registered", "during registered", "during unregistered unregistered")
	})
}

// slowHistory takes its time to say what is in it.
type slowHistory struct {
	kvstore.History
	before, after time.Duration
}

func (s *slowHistory) Newest(ctx context.Context) ([]kvstore.Line, error) {
	time.Sleep(s.before)
	defer time.Sleep(s.after)
	return s.History.Newest(ctx)
}

// What others write between a new writer's first look at the log and its look at the history is no gap: it neither ends what it has not
// seen begin, nor begins again what has ended.
func TestVirtualHistoryIsReadLate(t *testing.T) {
	const long = kvstore.HistoryWindow + 10*time.Second // the ids are forgotten by then
	for _, tt := range []struct {
		name          string
		before, after time.Duration
		feed          time.Duration
	}{
		{"it is read late", long, 0, 0},
		{"the answer comes late", 0, long, 0},
		{"the feed is behind the history", long, 0, 2 * long},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				h := kvstore.NewMemoryHistory(nil)
				w.Start(t, &registrytest.ProcessOptions{Server: "s1", Role: registry.Node, History: h})
				settle()
				p := w.Start(t, nil)
				moves, ends := own(t, p, registry.Service, "moves"), own(t, p, registry.Service, "ends")
				time.Sleep(time.Second)
				late := w.Start(t, &registrytest.ProcessOptions{Server: "s2", Role: registry.Node, History: &slowHistory{h, tt.before, tt.after}})
				late.Store.DelayFeed(tt.feed)
				time.Sleep(time.Second)
				for _, reg := range []*registry.Registration{moves, ends} {
					if err := reg.Unregister(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				own(t, p, registry.Service, "moves")
				time.Sleep(tt.before + tt.after + tt.feed + time.Minute)
				for _, tr := range transitions(t, h) {
					if tr.Collapsed || tr.Reason == registry.ReasonUnseen {
						t.Errorf("%+v", tr)
					}
				}
			})
		})
	}
}

// A registry that is closed writes the ends of its own sessions before it goes.
func TestVirtualHistoryOfTheLast(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := kvstore.NewMemoryHistory(nil)
		p := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, History: h})
		settle()
		own(t, p, registry.Service, "a")
		time.Sleep(time.Second)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantTold(t, h, "a registered", "a unregistered closed")
	})
}
