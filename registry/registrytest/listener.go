package registrytest

import (
	"context"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

// listener collects the events of a watch.
type listener struct {
	events chan registry.Event
	end    chan error // its error, or nil
}

// listen watches until the test ends.
func listen(t testing.TB, r *registry.Registry, opts *registry.WatchOptions) *listener {
	l := &listener{events: make(chan registry.Event, 10_000), end: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev, err := range r.Watch(ctx, opts) {
			if err != nil {
				l.end <- err
				return
			}
			l.events <- ev
		}
		l.end <- nil
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// take waits for the next n events.
func (l *listener) take(t testing.TB, n int) []registry.Event {
	t.Helper()
	out := make([]registry.Event, n)
	for i := range out {
		out[i] = receive(t, l.events, "the next event")
	}
	return out
}

// until takes events up to the first of a kind.
func (l *listener) until(t testing.TB, kind registry.EventKind) []registry.Event {
	t.Helper()
	var out []registry.Event
	for {
		ev := l.take(t, 1)[0]
		if out = append(out, ev); ev.Kind == kind {
			return out
		}
	}
}

// folded is what a reader of events knows.
type folded struct {
	names  map[string]registry.Record
	groups map[[2]string]registry.Member
}

func fold() *folded {
	return &folded{map[string]registry.Record{}, map[[2]string]registry.Member{}}
}

// add takes an event in and fails the test when it does not fit what came before.
func (f *folded) add(t testing.TB, ev registry.Event) {
	t.Helper()
	rec, had := f.names[ev.Record.Name]
	at := [2]string{ev.Member.Group, ev.Member.Instance}
	member, in := f.groups[at]
	fits := true
	switch ev.Kind {
	case registry.Registered:
		fits = !had
		f.names[ev.Record.Name] = ev.Record
	case registry.Updated:
		fits = had && rec.Token == ev.Record.Token && rec.Session == ev.Record.Session
		f.names[ev.Record.Name] = ev.Record
	case registry.Unregistered:
		fits = had && rec.Session == ev.Record.Session && ev.Reason != ""
		delete(f.names, ev.Record.Name)
	case registry.Joined:
		fits = !in
		f.groups[at] = ev.Member
	case registry.MemberUpdated:
		fits = in && member.Session == ev.Member.Session
		f.groups[at] = ev.Member
	case registry.Left:
		fits = in && member.Session == ev.Member.Session && ev.Reason != ""
		delete(f.groups, at)
	}
	if !fits {
		t.Fatalf("%+v does not follow from what was told before", ev)
	}
}

// matches tells whether it is what a view shows.
func (f *folded) matches(t testing.TB, r *registry.Registry) bool {
	t.Helper()
	list := r.List()
	if len(list) != len(f.names) {
		return false
	}
	for _, rec := range list {
		if f.names[rec.Name].Revision != rec.Revision || f.names[rec.Name].Session != rec.Session {
			return false
		}
	}
	n := 0
	for _, g := range r.Groups() {
		members, err := r.Members(g)
		ok(t, err)
		for _, m := range members {
			if n++; f.groups[[2]string{g, m.Instance}].Revision != m.Revision {
				return false
			}
		}
	}
	return n == len(f.groups)
}
