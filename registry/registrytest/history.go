package registrytest

import (
	"testing"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// tenure is one interval of a past, without its times.
type tenure struct {
	session string
	held    bool
	reason  registry.Reason
}

// wantPast waits until a name's history, which is written behind the log, is whole.
func wantPast(t testing.TB, r *registry.Registry, name string, want ...tenure) registry.Past {
	t.Helper()
	var p registry.Past
	same := func() bool {
		if len(p.Intervals) != len(want) {
			return false
		}
		for i, in := range p.Intervals {
			if in.Session != want[i].session || in.Held != want[i].held || in.Reason != want[i].reason || in.Name != name {
				return false
			}
		}
		return true
	}
	end := time.Now().Add(patience)
	for {
		var err error
		p, err = r.History(within(t), name)
		if ok(t, err); same() {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s has the history %+v, want %+v", name, p.Intervals, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for i, in := range p.Intervals {
		switch {
		case in.From.IsZero(), in.Held != in.To.IsZero(), !in.Held && in.To.Before(in.From), in.Collapsed, i > 0 && in.From.Before(p.Intervals[i-1].To),
			i > 0 && in.Token <= p.Intervals[i-1].Token:
			t.Fatalf("interval %d of %+v", i, p.Intervals)
		}
	}
	return p
}

// written waits until the history has a line for the newest owner of a name, and so can be told from what a view alone knows.
func written(t testing.TB, r *registry.Registry) {
	t.Helper()
	eventually(t, "the history is begun", func() bool {
		p, err := r.At(within(t), time.Now())
		ok(t, err)
		return !p.Since.IsZero()
	})
}

var history = chapter{"history", []test{
	{"who held a name, from when to when, and why it ended", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		one, two := session(t, rs[0]), session(t, rs[1])
		first := register(t, one, "calc", nil)
		written(t, rs[0])
		ok(t, first.Unregister(within(t)))
		together(t, rs...)
		second := register(t, two, "calc", nil)
		ok(t, second.Update(within(t), func(rec *registry.Record) { rec.Metadata = map[string]string{"a": "b"} })) // no change of owner
		wantPast(t, rs[2], "calc", tenure{one.ID(), false, registry.ReasonUnregistered}, tenure{two.ID(), true, ""})
		ok(t, two.Close(within(t)))
		together(t, rs...)
		third := register(t, one, "calc", nil)
		for _, r := range rs {
			together(t, rs...)
			p := wantPast(t, r, "calc", tenure{one.ID(), false, registry.ReasonUnregistered}, tenure{two.ID(), false, registry.ReasonClosed},
				tenure{one.ID(), true, ""})
			for i, reg := range []*registry.Registration{first, second, third} {
				if in := p.Intervals[i]; i == 2 && in.Token != reg.Token() {
					t.Fatalf("token %d, the registration's is %d", in.Token, reg.Token())
				}
			}
			if p.Since.After(p.Intervals[0].To) || p.Since.IsZero() {
				t.Fatalf("a history since %v of %v", p.Since, p.Intervals[0])
			}
		}
		p, err := rs[0].History(within(t), "nobody")
		if ok(t, err); len(p.Intervals) != 0 {
			t.Fatalf("%+v", p)
		}
		_, err = rs[0].History(within(t), "a b")
		wantError(t, err, registry.ErrBadName)
	}},
	{"a thousand names end in one entry, and all of it is written once", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		names := []string{"a", "b.c", "d", "e.f.g", "h"}
		for _, name := range names {
			register(t, s, name, nil)
		}
		ok(t, s.Close(within(t)))
		together(t, rs...)
		for _, name := range names {
			wantPast(t, rs[1], name, tenure{s.ID(), false, registry.ReasonClosed})
		}
	}},
	{"what was held at a time", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		begun := time.Now()
		one, two := session(t, rs[0]), session(t, rs[1])
		a := register(t, one, "a", nil)
		register(t, one, "b", nil)
		written(t, rs[0])
		time.Sleep(50 * time.Millisecond) // apart by more than what clocks of one machine differ
		then := time.Now()
		time.Sleep(50 * time.Millisecond)
		ok(t, a.Unregister(within(t)))
		together(t, rs...)
		register(t, two, "a", nil)
		register(t, two, "c", nil)
		together(t, rs...)
		wantPast(t, rs[1], "a", tenure{one.ID(), false, registry.ReasonUnregistered}, tenure{two.ID(), true, ""})
		held := func(at time.Time, want map[string]*registry.Session) registry.Past {
			t.Helper()
			p, err := rs[1].At(within(t), at)
			ok(t, err)
			last := ""
			for _, in := range p.Intervals {
				if want[in.Name] == nil || want[in.Name].ID() != in.Session || in.Name <= last {
					t.Fatalf("%+v", p.Intervals)
				}
				last = in.Name
			}
			if len(p.Intervals) != len(want) {
				t.Fatalf("%d names were held: %+v", len(p.Intervals), p.Intervals)
			}
			return p
		}
		held(time.Now(), map[string]*registry.Session{"a": two, "b": one, "c": two})
		if p := held(then, map[string]*registry.Session{"a": one, "b": one}); p.Since.After(then) {
			t.Fatalf("the history reaches back to %v, not to %v", p.Since, then)
		}
		if p := held(begun.Add(-time.Hour), map[string]*registry.Session{}); !p.Since.After(begun.Add(-time.Hour)) {
			t.Fatalf("the history says that it reaches back to %v", p.Since)
		}
	}},
	{"a name that changes hands in one entry has no gap", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		one, two := session(t, rs[0]), session(t, rs[1])
		register(t, one, "calc", nil)
		written(t, rs[0])
		together(t, rs...)
		_, err := two.Register(within(t), "calc", &registry.RegisterOptions{Conflict: registry.Replace})
		ok(t, err)
		p := wantPast(t, rs[0], "calc", tenure{one.ID(), false, registry.ReasonReplaced}, tenure{two.ID(), true, ""})
		if !p.Intervals[0].To.Equal(p.Intervals[1].From) {
			t.Fatalf("%+v", p.Intervals)
		}
	}},
}}
