package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// This file has what the tests of the view share: a log in a few lines, and the meaning of a set of records said a second time, from nothing
// but the judge.

// logbook is a log that keeps the newest entry of each key, as the bucket does.
type logbook struct {
	name   string
	last   kvstore.Revision
	newest map[string]kvstore.Entry
}

func newLogbook(name string) *logbook {
	return &logbook{name: name, newest: map[string]kvstore.Entry{}}
}

// append writes entries in one step.
func (l *logbook) append(entries ...kvstore.Entry) kvstore.Step {
	for i := range entries {
		l.last++
		entries[i].Revision = l.last
		l.newest[entries[i].Key] = entries[i]
	}
	return kvstore.Step{Entries: entries, Revision: l.last, Log: l.name}
}

// snapshot is what a watcher that begins now gets, in random order.
func (l *logbook) snapshot() kvstore.Step {
	entries := slices.Collect(maps.Values(l.newest))
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	return kvstore.Step{Kind: kvstore.Snapshot, Entries: entries, Revision: l.last, Log: l.name}
}

func put(key string, value []byte) kvstore.Entry { return kvstore.Entry{Key: key, Value: value} }

func putLease(session string) kvstore.Entry {
	return put(leaseKey(session), encode(leaseRecord{Lease: Lease{Session: session}, V: recordVersion}))
}

func putName(name, session string) kvstore.Entry {
	return put(nameKey(name), encode(nameRecord{Record: Record{Name: name, Session: session, Instance: session}, V: recordVersion}))
}

func putMember(group, instance, session string) kvstore.Entry {
	return put(groupKey(group, instance), encode(groupRecord{Member: Member{Group: group, Session: session, Instance: instance}, V: recordVersion}))
}

func putWaiting(name, instance, session string, place kvstore.Revision) kvstore.Entry {
	waiting := Waiting{Name: name, Session: session, Instance: instance, Place: place}
	return put(standbyKey(name, instance), encode(waitRecord{Waiting: waiting, V: recordVersion}))
}

func putReplica(name, instance, session, digest string, place kvstore.Revision) kvstore.Entry {
	replica := Replica{Name: name, Session: session, Instance: instance, Digest: digest, Place: place}
	return put(replicaKey(name, instance), encode(replicaRecord{Replica: replica, V: recordVersion}))
}

func putProperty(session, key, value string) kvstore.Entry {
	return put(propertyKey(session, key), encode(propertyRecord{Property: Property{Session: session, Key: key, Value: value}, V: recordVersion}))
}

func del(key string, reason Reason) kvstore.Entry {
	return kvstore.Entry{Key: key, Operation: kvstore.Delete, Value: encode(tombstone{Reason: reason, V: recordVersion})}
}

// meaning is what is visible.
type meaning struct {
	names   map[string]Record
	members map[string]Member // by key
	leases  map[string]Lease
	holds   map[string]string // instance: its name, the one claimed first
	props   map[string]Property
	waiting map[string]Waiting // by key
	serving map[string]Replica // by key
}

func noMeaning() meaning {
	return meaning{map[string]Record{}, map[string]Member{}, map[string]Lease{}, map[string]string{}, map[string]Property{}, map[string]Waiting{}, map[string]Replica{}}
}

// meaningOf says what a set of records means, from scratch.
func meaningOf(rs records) meaning {
	m := noMeaning()
	for key, e := range rs {
		if v := rs.shown(e, rs.sharerOf(e)); v != nil {
			m.names[v.Name] = *v
			if other, ok := m.names[m.holds[v.Instance]]; !ok || v.Token < other.Token || v.Token == other.Token && v.Name < other.Name {
				m.holds[v.Instance] = v.Name
			}
		}
		if !rs.visible(e) {
			continue
		}
		switch v := e.value.(type) {
		case *Waiting:
			m.waiting[key] = *v
		case *Replica:
			m.serving[key] = *v
		case *Member:
			m.members[key] = *v
		case *Lease:
			m.leases[v.Session] = *v
		case *Property:
			m.props[key] = *v
		}
	}
	return m
}

// sharerOf is who stands for a name whose record this is, found by looking at every record.
func (rs records) sharerOf(e *entry) *entry {
	if rec, ok := recordOf(e); ok && rec.Digest != "" {
		return rs.sharer(rec.Name, rec.Digest)
	}
	return nil
}

// meaning is what a view shows, through all that reads it.
func (v *view) meaning() meaning {
	m := noMeaning()
	for _, name := range v.listNames() {
		rec, _ := v.whereis(name)
		m.names[name] = *rec
		if rec, err := v.instance(rec.Instance); err == nil {
			m.holds[rec.Instance] = rec.Name
		}
	}
	for _, group := range v.listGroups() {
		members, _ := v.members(group)
		for _, member := range members {
			m.members[groupKey(group, member.Instance)] = member
		}
	}
	for name := range v.queues {
		queue, _ := v.standbys(name)
		for _, w := range queue {
			m.waiting[standbyKey(name, w.Instance)] = w
		}
	}
	for name := range v.shares {
		replicas, _ := v.replicas(name)
		for _, r := range replicas {
			m.serving[replicaKey(name, r.Instance)] = r
		}
	}
	for _, l := range v.listLeases() {
		m.leases[l.Session] = l
		for key, value := range v.propertiesOf(l.Session) {
			all, _ := v.findProperty(key)
			for _, p := range all {
				if p.Session == l.Session && p.Value == value {
					m.props[propertyKey(l.Session, key)] = p
				}
			}
		}
	}
	return m
}

// checkView compares a view with the judge's word on its own records, index by index.
func checkView(t *testing.T, v *view) {
	t.Helper()
	want, got := meaningOf(v.records), v.meaning()
	sameMeaning(t, "the view and its own records", got, want)
	joined := map[string][]string{}
	for _, m := range want.members {
		joined[m.Instance] = append(joined[m.Instance], m.Group)
	}
	for instance, groups := range joined {
		slices.Sort(groups)
		if got := v.groupsOf(instance); !slices.Equal(got, groups) {
			t.Fatalf("%s is in %v, the records say %v", instance, got, groups)
		}
	}
	if len(joined) != len(v.joined) || len(want.holds) != len(v.holds) {
		t.Fatalf("the view keeps %d instances in groups and %d with a name, the records say %d and %d", len(v.joined), len(v.holds), len(joined), len(want.holds))
	}
	having := 0
	for _, sessions := range v.having {
		having += len(sessions)
	}
	if having != len(want.props) {
		t.Fatalf("the view finds %d properties by key, the records have %d", having, len(want.props))
	}
	keys := map[string]int{}
	for _, e := range v.records {
		if e.session != "" {
			keys[e.session]++
		}
	}
	for session, n := range keys {
		if len(v.keysOf(session)) != n {
			t.Fatalf("the view knows %d keys of %s, it has %d", len(v.keysOf(session)), session, n)
		}
	}
	if len(keys) != len(v.keys) {
		t.Fatalf("the view knows keys of %d sessions, it has some of %d", len(v.keys), len(keys))
	}
	orphans, left := map[string]bool{}, map[string]bool{}
	for _, e := range v.orphans(1 << 30) {
		orphans[e.key] = true
	}
	for session := range v.keys {
		for _, e := range v.leftBy(session) {
			left[e.key] = e.session == session
		}
	}
	for key, e := range v.records {
		if is := v.records.orphan(e, v.records.sharerOf(e)); is != orphans[key] || is != left[key] {
			t.Fatalf("%s is an orphan: %v; listed: %v, of its session: %v", key, is, orphans[key], left[key])
		}
	}
	checkQueues(t, v)
}

// checkQueues compares who stands by for names and who stands for them, found by the indexes and by looking at every record.
func checkQueues(t *testing.T, v *view) {
	t.Helper()
	names := map[string]bool{}
	for key := range v.records {
		switch kind, rest := splitKey(key); kind {
		case kindName:
			names[rest] = true
		case kindStandby, kindReplica:
			if name, _, ok := splitGroup(rest); ok {
				names[name] = true
			}
		}
	}
	for name := range names {
		e := v.records[nameKey(name)]
		sharer, heir := v.records.sharerOf(e), v.records.heir(name)
		if got := v.sharer(name, e); got != sharer {
			t.Fatalf("%+v stands for %s, the records say %+v", got, name, sharer)
		}
		if got := v.heir(name); got != heir {
			t.Fatalf("%+v is the heir of %s, the records say %+v", got, name, heir)
		}
		if queue, err := v.standbys(name); err != nil || len(queue) > 0 && standbyKey(name, queue[0].Instance) != heir.key {
			t.Fatalf("the queue for %s begins with %+v, its heir is %s", name, queue[0], heir.key)
		}
		want := v.records.claimName(e, v.records.claim(nameKey(name)), sharer, heir)
		got, _ := v.claim(nameKey(name))
		if got.heir != want.heir || got.over != want.over || got.expect != want.expect || (got.held == nil) != (want.held == nil) || got.held != nil && got.held.session != want.held.session {
			t.Fatalf("a claim of %s is told %+v, the records say %+v", name, got, want)
		}
	}
}

func sameMeaning(t *testing.T, what string, got, want meaning) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s differ:\n%s", what, got.diff(want))
	}
}

// diff says what differs, for people.
func (m meaning) diff(want meaning) string {
	return diffMap("name", m.names, want.names) + diffMap("member", m.members, want.members) +
		diffMap("lease", m.leases, want.leases) + diffMap("instance", m.holds, want.holds) + diffMap("property", m.props, want.props) +
		diffMap("standby", m.waiting, want.waiting) + diffMap("replica", m.serving, want.serving)
}

func diffMap[V any](what string, got, want map[string]V) (out string) {
	for key := range want {
		if g, ok := got[key]; !ok || !reflect.DeepEqual(g, want[key]) {
			out += fmt.Sprintf("%s %s: %+v (%v), want %+v\n", what, key, g, ok, want[key])
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			out += fmt.Sprintf("%s %s: %+v, want none\n", what, key, got[key])
		}
	}
	return out
}

// becomes waits until something holds that another goroutine brings about.
func becomes(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not become so in 10 s")
		}
	}
}
