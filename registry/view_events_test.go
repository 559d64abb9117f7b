package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// folded is what a reader of events has made of them.
type folded struct {
	names   map[string]Record
	members map[string]Member
	props   map[string]Property
	synced  bool
}

// holders counts the sessions that have a property of a key.
func (f *folded) holders(key string) (n int) {
	for _, p := range f.props {
		if p.Key == key {
			n++
		}
	}
	return n
}

// fold takes one event in. An event that does not fit what was told before is a failure.
func (f *folded) fold(t *testing.T, ev Event) {
	t.Helper()
	name, member := ev.Record.Name, groupKey(ev.Member.Group, ev.Member.Instance)
	property := propertyKey(ev.Property.Session, ev.Property.Key)
	_, held := f.names[name]
	_, in := f.members[member]
	ok := true
	switch ev.Kind {
	case Registered:
		ok, f.names[name] = !held, ev.Record
	case Updated:
		ok, f.names[name] = held, ev.Record
	case Unregistered:
		ok = held && ev.Reason != ""
		delete(f.names, name)
	case Joined:
		ok, f.members[member] = !in, ev.Member
	case MemberUpdated:
		ok, f.members[member] = in, ev.Member
	case Left:
		ok = in && ev.Reason != ""
		delete(f.members, member)
	case PropertySet:
		f.props[property] = ev.Property
	case PropertyGone:
		_, has := f.props[property]
		ok = has && ev.Reason != ""
		delete(f.props, property)
	}
	if holders := f.holders(ev.Property.Key); ok && ev.Property.Key != "" && f.synced {
		ok = holders == ev.Holders
	}
	f.synced = f.synced || ev.Kind == Synced
	if !ok {
		t.Fatalf("%s of %q%q does not fit what was told before (there: %v, %v; reason %q)", ev.Kind, name, member, held, in, ev.Reason)
	}
}

// watch begins a watch of a view and folds what it tells first.
func watch(t *testing.T, v *view) (*watcher, *folded) {
	w := &watcher{news: make(chan Event, 4096)}
	f := &folded{names: map[string]Record{}, members: map[string]Member{}, props: map[string]Property{}}
	first := v.subscribe(w)
	for _, ev := range first {
		f.fold(t, ev)
	}
	if last := first[len(first)-1]; last.Kind != Synced || last.Revision != v.revision {
		t.Fatalf("a watch begins with %+v as its last", last)
	}
	return w, f
}

// drain folds what has been told since.
func (w *watcher) drain(t *testing.T, f *folded) (events []Event) {
	t.Helper()
	for {
		select {
		case ev, ok := <-w.news:
			if !ok {
				t.Fatal("the watch was dropped")
			}
			f.fold(t, ev)
			events = append(events, ev)
		default:
			return events
		}
	}
}

// notice is a monitor of the test's own, beside the holder that it was set on.
type notice struct {
	key    string
	holder string
	down   <-chan Down
	over   bool
}

// holder says who holds a key, in one text: another text is another holder, but of a name that the same share.
func holder(rs records, key string) string {
	e := rs[key]
	if rec := rs.shown(e, rs.sharerOf(e)); rec != nil {
		return fmt.Sprint(rec.Session, " ", rec.Instance, " ", rec.Token, " ", rec.Digest)
	}
	if !rs.visible(e) {
		return ""
	}
	return e.session
}

// stays tells whether a holder is the one before still.
func stays(before, now string) bool {
	var a, b [4]string
	copy(a[:], strings.Split(before, " "))
	copy(b[:], strings.Split(now, " "))
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] || a[2] != "" && a[2] == b[2] && a[3] != "" && a[3] == b[3]
}

// What a watch tells, folded, is what the view shows, after every step, also over gaps and new logs; and a monitor fires exactly once, in the
// step in which its holder ends.
func TestEventsFoldToTheView(t *testing.T) {
	histories(t, 60, func(t *testing.T, h *history) {
		v := newView()
		v.apply(h.snapshot())
		type reader struct {
			w *watcher
			f *folded
		}
		var readers []reader
		var notices []*notice
		fired := 0
		for i := range 200 {
			if i%40 == 0 {
				w, f := watch(t, v)
				readers = append(readers, reader{w, f})
			}
			for _, key := range slices.Sorted(maps.Keys(v.records)) {
				if h.IntN(4) > 0 {
					continue
				}
				down, err := v.monitor(t.Context(), key, key)
				if (err == nil) != (holder(v.records, key) != "") {
					t.Fatalf("a monitor of %s: %v", key, err)
				}
				if err == nil {
					notices = append(notices, &notice{key: key, holder: holder(v.records, key), down: down})
				}
			}
			step, gap := h.step(), false
			switch h.IntN(12) {
			case 0: // a gap: some steps are seen as one snapshot only
				for range h.IntN(10) {
					h.step()
				}
				step, gap = h.snapshot(), true
			case 1:
				h.purge()
				step, gap = h.snapshot(), true
			case 2:
				if i > 100 {
					h.anew()
					step, gap = h.snapshot(), true
				}
			}
			v.apply(step)
			want := meaningOf(v.records)
			for _, r := range readers {
				for _, ev := range r.w.drain(t, r.f) {
					if ev.Revision != v.revision || ev.Collapsed != gap {
						t.Fatalf("%+v at revision %d, gap %v", ev, v.revision, gap)
					}
				}
				sameMeaning(t, "events and the view", meaning{r.f.names, r.f.members, want.leases, want.holds, r.f.props, want.waiting, want.serving}, want)
			}
			for _, n := range notices {
				now := holder(v.records, n.key)
				ended := !n.over && !stays(n.holder, now)
				select {
				case d := <-n.down:
					if !ended || d.What != n.key || d.Reason == "" {
						t.Fatalf("a monitor of %s fired with %+v; its holder %q, now %q, fired before: %v", n.key, d, n.holder, now, n.over)
					}
					n.over = true
					fired++
				default:
					if ended {
						t.Fatalf("a monitor of %s did not fire: its holder was %q, now %q", n.key, n.holder, now)
					}
					n.holder = now
				}
			}
		}
		if fired == 0 {
			t.Fatal("no monitor fired")
		}
	})
}

// The end of a lease ends all that hangs on it in one step, each with the lease's reason; in a batch, a record's own reason stands.
func TestEndOfLeaseTellsAll(t *testing.T) {
	l := newLogbook("log")
	v := newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A"), putName("a", "A"), putName("b", "A"), putMember("g", "A", "A")))
	w, f := watch(t, v)
	v.apply(l.append(del(nameKey("a"), ReasonUnregistered), del(leaseKey("A"), ReasonSilent)))
	got := map[string]Reason{}
	for _, ev := range w.drain(t, f) {
		got[ev.Record.Name+ev.Member.Group] = ev.Reason
	}
	if want := (map[string]Reason{"a": ReasonUnregistered, "b": ReasonSilent, "g": ReasonSilent}); !maps.Equal(got, want) {
		t.Errorf("reasons %v, want %v", got, want)
	}
	v.apply(l.append(putLease("B"), putName("a", "B")))
	v.apply(l.append(putLease("C"), putName("a", "C")))
	kinds := ""
	for _, ev := range w.drain(t, f) {
		kinds += fmt.Sprintf("%s %s %s;", ev.Kind, ev.Record.Session, ev.Reason)
	}
	if want := "registered B ;unregistered B replaced;registered C ;"; kinds != want {
		t.Errorf("events %s, want %s", kinds, want)
	}
}

// A monitor whose context ends, or whose holder has ended, is forgotten; a new owner is not followed.
func TestMonitorIsForgotten(t *testing.T) {
	l := newLogbook("log")
	v := newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A"), putLease("B"), putName("a", "A")))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := v.monitor(ctx, nameKey("a"), "a"); err != nil {
		t.Fatal(err)
	}
	cancel()
	becomes(t, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.monitors) == 0
	})
	down, err := v.monitor(t.Context(), nameKey("a"), "a")
	if err != nil {
		t.Fatal(err)
	}
	v.apply(l.append(putName("a", "B")))
	v.apply(l.append(putName("a", "A")))
	if d := <-down; d.Reason != ReasonReplaced || len(down) != 0 || len(v.monitors) != 0 {
		t.Errorf("%+v, then %d more; %d monitors are left", d, len(down), len(v.monitors))
	}
}

// A reader that is slower than its buffer is told so, and nobody waits for it.
func TestSlowWatcherIsDropped(t *testing.T) {
	l := newLogbook("log")
	v := newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A")))
	w := &watcher{news: make(chan Event, 2)}
	v.subscribe(w)
	for _, name := range []string{"a", "b", "c", "d"} {
		v.apply(l.append(putName(name, "A")))
	}
	var got []string
	for ev := range w.news { // it ends: the view closed it
		got = append(got, ev.Record.Name)
	}
	if len(got) != 2 || len(v.watchers) != 0 {
		t.Errorf("got %v; %d watchers are left", got, len(v.watchers))
	}
	v.unsubscribe(w) // harmless
}

// A watch of a name or of a group is told of that one alone.
func TestWatchOptionsChoose(t *testing.T) {
	l := newLogbook("log")
	v := newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A"), putName("a", "A"), putName("b", "A"), putMember("a", "A", "A"), putMember("g", "A", "A")))
	for _, c := range []struct {
		opts WatchOptions
		want string
	}{
		{WatchOptions{Name: "a"}, "registered a;synced ;"},
		{WatchOptions{Group: "g"}, "joined g;synced ;"},
		{WatchOptions{}, "registered a;registered b;joined a;joined g;synced ;"},
	} {
		got := ""
		for _, ev := range v.subscribe(&watcher{opts: c.opts, news: make(chan Event, 1)}) {
			got += fmt.Sprintf("%s %s%s;", ev.Kind, ev.Record.Name, ev.Member.Group)
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.opts, got, c.want)
		}
	}
}

// A shared name ends when the last who serves it does, for the reason that he ends for. Before that a reader learns of a change, not of an end.
func TestEndOfLastReplica(t *testing.T) {
	for what, c := range map[string]struct {
		end    kvstore.Entry
		reason Reason
	}{
		"its lease ends": {del(leaseKey("B"), ReasonSilent), ReasonSilent},
		"it leaves":      {del(replicaKey("n", "B"), ReasonUnregistered), ReasonUnregistered},
	} {
		t.Run(what, func(t *testing.T) {
			l, v := newLogbook("log"), newView()
			v.apply(l.snapshot())
			shared := encode(nameRecord{Record: Record{Name: "n", Session: "A", Instance: "A", Digest: "d"}, V: recordVersion})
			v.apply(l.append(putLease("A"), putLease("B"), put(nameKey("n"), shared), putReplica("n", "A", "A", "d", 0), putReplica("n", "B", "B", "d", 0)))
			w, f := watch(t, v)
			v.apply(l.append(del(leaseKey("A"), ReasonClosed)))
			if events := w.drain(t, f); len(events) != 1 || events[0].Kind != Updated || events[0].Record.Session != "B" {
				t.Fatalf("the first has ended: %+v", events)
			}
			down, err := v.monitor(t.Context(), nameKey("n"), "n")
			if err != nil {
				t.Fatal("a monitor of a name that is held by a replica: ", err)
			}
			v.apply(l.append(c.end))
			if events := w.drain(t, f); len(events) != 1 || events[0].Kind != Unregistered || events[0].Reason != c.reason {
				t.Errorf("the last has ended: %+v, want the reason %q", events, c.reason)
			}
			if d := <-down; d.Reason != c.reason {
				t.Errorf("the monitor says %+v", d)
			}
		})
	}
}

// Whoever takes a shared name under another digest is another holder, whatever token he writes.
func TestAnotherDigestIsAnotherHolder(t *testing.T) {
	l, v := newLogbook("log"), newView()
	v.apply(l.snapshot())
	rec := Record{Name: "n", Session: "A", Instance: "A", Digest: "d"}
	v.apply(l.append(putLease("A"), putLease("B"), put(nameKey("n"), encode(nameRecord{Record: rec, V: recordVersion}))))
	w, f := watch(t, v)
	rec.Session, rec.Instance, rec.Digest, rec.Token = "B", "B", "e", l.last
	v.apply(l.append(put(nameKey("n"), encode(nameRecord{Record: rec, V: recordVersion}))))
	if events := w.drain(t, f); len(events) != 2 || events[0].Kind != Unregistered || events[1].Kind != Registered {
		t.Errorf("the digest is another: %+v", events)
	}
}
