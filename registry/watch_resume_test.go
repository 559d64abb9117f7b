package registry

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// seen is what a reader of a watch knows.
type seen struct {
	names   map[string]Record
	members map[string]Member
	props   map[string]Property
}

func (s seen) clone() seen {
	return seen{maps.Clone(s.names), maps.Clone(s.members), maps.Clone(s.props)}
}

// take takes in what a resumed watch tells: what is there takes the place of what was, and what is gone may never have been known.
func (s seen) take(ev Event) {
	member, prop := groupKey(ev.Member.Group, ev.Member.Instance), propertyKey(ev.Property.Session, ev.Property.Key)
	switch ev.Kind {
	case Registered, Updated:
		s.names[ev.Record.Name] = ev.Record
	case Unregistered:
		delete(s.names, ev.Record.Name)
	case Joined, MemberUpdated:
		s.members[member] = ev.Member
	case Left:
		delete(s.members, member)
	case PropertySet:
		s.props[prop] = ev.Property
	case PropertyGone:
		delete(s.props, prop)
	}
}

// seenBy is what a reader knows who begins to watch now.
func seenBy(v *view, w watcher) seen {
	s := seen{map[string]Record{}, map[string]Member{}, map[string]Property{}}
	for _, ev := range v.subscribe(&w) {
		s.take(ev)
	}
	v.unsubscribe(&w)
	return s
}

// resumeWorld writes a log as sessions do: a lease id is never used again, and no record is written before its lease.
type resumeWorld struct {
	*rand.Rand
	*logbook
	opened int
}

func (w *resumeWorld) step() kvstore.Step {
	session := fmt.Sprint("S", 1+w.IntN(w.opened+1))
	name, group, instance := fmt.Sprint("n", w.IntN(4)), fmt.Sprint("g", w.IntN(2)), fmt.Sprint("i", w.IntN(2))
	rec := Record{Name: name, Session: session, Instance: instance, Kind: fmt.Sprint(w.IntN(9)), Labels: map[string]string{"type": fmt.Sprint(w.IntN(2))}}
	if old := w.newest[nameKey(name)]; old.Key != "" && w.IntN(2) == 0 { // an update carries the token on, and stays with its session
		if was, ok := decode(old).value.(*Record); ok {
			rec.Session, rec.Instance, rec.Token, rec.Digest = was.Session, was.Instance, was.Token, was.Digest
		}
	} else if w.IntN(3) == 0 {
		rec.Digest = "d"
	}
	var entry kvstore.Entry
	switch w.IntN(14) {
	case 0, 1:
		w.opened++
		entry = putLease(fmt.Sprint("S", w.opened))
	case 2:
		if lease := w.newest[leaseKey(session)]; lease.Key == "" || lease.Tombstone() {
			return w.step()
		}
		entry = del(leaseKey(session), ReasonSilent)
	case 3:
		entry = del(nameKey(name), ReasonUnregistered)
	case 4:
		entry = del(groupKey(group, instance), ReasonLeft)
	case 5:
		entry = del(propertyKey(session, "k"), ReasonUnregistered)
	case 6:
		entry = putProperty(session, "k", fmt.Sprint(w.IntN(9)))
	case 7, 8:
		entry = putMember(group, instance, session)
	case 9:
		entry = put(replicaKey(name, instance), encode(replicaRecord{Replica: Replica{Name: name, Session: session, Instance: instance, Digest: "d"}, V: recordVersion}))
	case 10:
		entry = del(replicaKey(name, instance), ReasonUnregistered)
	default:
		entry = put(nameKey(name), encode(nameRecord{Record: rec, V: recordVersion}))
	}
	if kind, _ := splitKey(entry.Key); kind != kindLease && entry.Operation == kvstore.Put {
		if lease := w.newest[leaseKey(decode(entry).session)]; lease.Key == "" { // of a session that was never opened
			return w.step()
		}
	}
	entry.Time = time.Unix(1_700_000_000+int64(w.last), 0)
	return w.append(entry)
}

// Who knows what was visible at a revision, and takes in what a watch resumed from there tells, knows what is visible: on a view that has followed, and
// on one that began from a snapshot; of everything, and of what he selects.
func TestResumeLeadsToTheView(t *testing.T) {
	chosen := []watcher{{}, {opts: WatchOptions{Name: "n1"}}, {opts: WatchOptions{Group: "g1"}}, {opts: WatchOptions{Property: "k"}}}
	pattern, _ := ParsePattern("n1")
	selector, _ := ParseSelector("type=1")
	chosen = append(chosen, watcher{pattern: pattern}, watcher{selector: selector})
	told := map[EventKind]int{}
	for seed := range uint64(40) {
		w := &resumeWorld{rand.New(rand.NewPCG(seed, 9)), newLogbook("log"), 0}
		v := newView()
		v.apply(w.snapshot())
		var known [][]seen
		at := map[int]kvstore.Revision{}
		for i := range 80 {
			v.apply(w.step())
			at[i] = v.revision
			var now []seen
			for _, c := range chosen {
				now = append(now, seenBy(v, c))
			}
			known = append(known, now)
		}
		fresh := newView()
		fresh.apply(w.snapshot())
		last := time.Unix(1_700_000_000+int64(w.last), 0)
		for i, then := range known {
			for j, c := range chosen {
				for which, v := range []*view{v, fresh} {
					c := c
					c.opts.Since, c.opts.SinceTime = at[i], last
					events, err := v.resume(&c, last)
					if errors.Is(err, ErrTooOld) && v.oldest() > at[i] {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if len(v.watchers)+len(v.topics) != 1 {
						t.Fatal("a resumed watch is not told what follows")
					}
					v.unsubscribe(&c)
					got := then[j].clone()
					for k, ev := range events {
						got.take(ev)
						told[ev.Kind]++
						if final := k == len(events)-1; final != (ev.Kind == Synced) || !final && (!ev.Collapsed || ev.Revision > v.revision) {
							t.Fatalf("seed %d from %d: event %d of %d is %+v", seed, at[i], k, len(events), ev)
						}
						if gone := ev.Kind == Unregistered || ev.Kind == Left || ev.Kind == PropertyGone; gone != (ev.Reason != "") {
							t.Fatalf("seed %d from %d: %+v", seed, at[i], ev)
						}
					}
					if want := known[len(known)-1][j]; !reflect.DeepEqual(got, want) {
						t.Fatalf("seed %d, watch %d from %d of %d on view %d:\nknew %+v\ntold %+v\ngot  %+v\nwant %+v", seed, j, at[i], v.revision, which, then[j], events, got, want)
					}
				}
			}
		}
	}
	for _, kind := range []EventKind{Registered, Updated, Unregistered, Joined, Left, PropertySet, PropertyGone} {
		if told[kind] == 0 {
			t.Errorf("nothing was ever told as %s: the test has lost its reach: %v", kind, told)
		}
	}
}

// oldest is the lowest revision of any record.
func (v *view) oldest() kvstore.Revision {
	low := v.revision
	for _, e := range v.records {
		low = min(low, e.revision)
	}
	return low
}

// A watch resumes only where every tombstone from after its revision must still be there.
func TestResumeTooOld(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l, v := newLogbook("log"), newView()
	l.last = 1000
	at := func(d time.Duration, e kvstore.Entry) kvstore.Entry {
		e.Time = began.Add(d)
		return e
	}
	v.apply(l.append(at(0, putLease("A"))))                // 1001
	v.apply(l.append(at(time.Minute, putName("a", "A"))))  // 1002
	v.apply(l.append(at(30*time.Hour, putName("b", "A")))) // 1003
	v.apply(l.append(at(31*time.Hour, putName("a", "A")))) // 1004: of 1002 nothing is left
	for _, c := range []struct {
		since kvstore.Revision
		at    time.Duration // of SinceTime; 0: none
		now   time.Duration
		why   string
	}{
		{1000, 0, 31 * time.Hour, "nothing from before it"},
		{1000, 31 * time.Hour, 31 * time.Hour, "nothing from before it"}, // whatever its reader believes
		{1001, 0, 31 * time.Hour, "it may be from 2026-01-01T00:00:00Z"},
		{1002, 0, 31 * time.Hour, "it may be from 2026-01-01T00:00:00Z"},
		{1002, 30 * time.Hour, 31 * time.Hour, ""},
		{1002, 6 * time.Hour, 31 * time.Hour, "it may be from 2026-01-01T06:00:00Z"},
		{1003, 0, 31 * time.Hour, ""},
		{1003, 0, 53 * time.Hour, ""},
		{1003, 0, 54 * time.Hour, "it may be from 2026-01-02T06:00:00Z"}, // tombstones vanish in silence
		{1003, 0, 0, ""}, // a clock that is behind the store's
		{1004, 0, 31 * time.Hour, ""},
	} {
		w := &watcher{opts: WatchOptions{Since: c.since}}
		if c.at != 0 {
			w.opts.SinceTime = began.Add(c.at)
		}
		_, err := v.resume(w, began.Add(c.now))
		if c.why == "" && err == nil {
			continue
		}
		old, _ := errors.AsType[*TooOldError](err)
		if c.why == "" || !errors.Is(err, ErrTooOld) || old.Since != c.since || !strings.Contains(old.Why, c.why) || !strings.Contains(err.Error(), "start over") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if len(v.watchers) != 5 {
		t.Errorf("%d watches, want those that were resumed", len(v.watchers))
	}
}

// A selector makes a change of labels the beginning or the end of a name.
func TestWatchSelector(t *testing.T) {
	l, v := newLogbook("log"), newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A")))
	named := func(name string, labels ...string) {
		rec := Record{Name: name, Session: "A", Instance: "A", Labels: map[string]string{}}
		for _, label := range labels {
			rec.Labels[label] = "1"
		}
		if old, err := v.whereis(name); err == nil {
			rec.Token = old.Token
		}
		v.apply(l.append(put(nameKey(name), encode(nameRecord{Record: rec, V: recordVersion}))))
	}
	named("team.a", "x")
	named("team.b")
	named("other.c", "x")
	w, err := newWatcher(&WatchOptions{Pattern: "team.*", Selector: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	add := func(ev Event) {
		got = append(got, strings.TrimSpace(fmt.Sprint(ev.Kind, " ", ev.Record.Name, " ", ev.Reason)))
	}
	for _, ev := range v.subscribe(w) {
		add(ev)
	}
	named("team.a", "x", "y")
	named("team.b", "x")
	named("team.a", "y")
	named("team.a", "z")
	named("other.c", "x", "y")
	named("other.d", "x")
	v.apply(l.append(putMember("team.a", "A", "A")))
	v.apply(l.append(putProperty("A", "x", "1")))
	v.apply(l.append(del(leaseKey("A"), ReasonClosed)))
	for len(w.news) > 0 {
		add(<-w.news)
	}
	want := []string{"registered team.a", "synced", "updated team.a", "registered team.b", "unregistered team.a unselected", "unregistered team.b closed"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A watch of one thing costs the changes of others nothing.
func TestTopics(t *testing.T) {
	l, v := newLogbook("log"), newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A")))
	watchers := []*watcher{{opts: WatchOptions{Name: "a"}}, {opts: WatchOptions{Group: "a"}}, {opts: WatchOptions{Property: "a"}}, {names: []string{"b", "c"}}}
	for _, w := range watchers {
		w.news = make(chan Event, 9)
		v.subscribe(w)
	}
	if len(v.watchers) != 0 || len(v.topics) != 5 {
		t.Fatalf("%d watchers of everything, %d topics", len(v.watchers), len(v.topics))
	}
	v.apply(l.append(putName("a", "A"), putMember("a", "A", "A"), putProperty("A", "a", "1"), putName("b", "A"), putName("c", "A"), putName("d", "A")))
	for i, want := range []int{1, 1, 1, 2} {
		if len(watchers[i].news) != want {
			t.Errorf("watcher %d was told %d things, want %d", i, len(watchers[i].news), want)
		}
		v.unsubscribe(watchers[i])
	}
	if len(v.topics) != 0 {
		t.Errorf("%d topics are left", len(v.topics))
	}
}
