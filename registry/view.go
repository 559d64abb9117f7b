package registry

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// view is one process's copy of the log's state: the newest record of each key, and what of it is visible by the judge. Its zero value is not
// ready; use newView. Readers take mu shared, but for those of one name. Steps are applied by one goroutine.
type view struct {
	mu      sync.RWMutex
	records records
	keys    map[string]map[string]struct{}  // session: the keys whose newest record is its
	names   *directory                      // visible
	groups  map[string]map[string]*Member   // visible: group, instance
	joined  map[string]map[string]*Member   // visible: instance, group
	holds   map[string]map[string]*Record   // visible: instance, its names: a session that hosts none may have many
	shares  map[string]map[string]*entry    // visible: name, instance that serves it with others
	queues  map[string]map[string]*entry    // visible: name, instance that stands by for it
	leases  map[string]*Lease               // sessions alive
	props   map[string]map[string]*Property // visible: session, key
	having  map[string]map[string]*Property // the same: key, session

	lists map[string]*memberList // of the groups, for those who read them
	index *index                 // of the names

	claims map[string]map[string]*Claimed // in force: group, instance
	uses   map[string]map[string]*Claimed // the same: instance, group
	turns  turns

	revision kvstore.Revision
	whole    kvstore.Revision // of the newest snapshot: nothing from before it is news
	log      string
	synced   bool
	loading  bool                             // the first snapshot is being applied
	previous kvstore.Revision                 // before the newest step
	stored   int64                            // when the store took the newest entry, by its clock, in Unix nanoseconds; 0: it did not say
	watchers map[*watcher]struct{}            // those of everything, or of much
	topics   map[string]map[*watcher]struct{} // those of one thing, by its key
	monitors map[string]map[*monitor]struct{} // key of the record that they wait for the end of
}

func newView() *view {
	v := &view{watchers: map[*watcher]struct{}{}, topics: map[string]map[*watcher]struct{}{}, monitors: map[string]map[*monitor]struct{}{}}
	v.clear()
	return v
}

func (v *view) clear() {
	v.records = records{}
	v.keys = map[string]map[string]struct{}{}
	v.names = newDirectory()
	v.groups = map[string]map[string]*Member{}
	v.joined = map[string]map[string]*Member{}
	v.holds = map[string]map[string]*Record{}
	v.queues = map[string]map[string]*entry{}
	v.shares = map[string]map[string]*entry{}
	v.lists = map[string]*memberList{}
	v.index = newIndex()
	v.claims = map[string]map[string]*Claimed{}
	v.uses = map[string]map[string]*Claimed{}
	v.leases = map[string]*Lease{}
	v.props = map[string]map[string]*Property{}
	v.having = map[string]map[string]*Property{}
	v.revision = 0
}

// change is what a step did to one key's newest record.
type change struct {
	key      string
	old, new *entry // nil: none
}

// apply takes one step into the view, as a whole, and tells the watchers. It returns what changed, in the order of revisions for an Append, and
// whether the log is another than before.
func (v *view) apply(step kvstore.Step) (changes []change, newLog bool) {
	decoded := decodeAll(step.Entries) // outside of the lock
	v.mu.Lock()
	defer v.mu.Unlock()
	v.names.begin()
	defer v.names.end()
	collapsed := step.Kind == kvstore.Snapshot && v.synced && !(v.log == "" && nothingCollapsed(step))
	v.loading = step.Kind == kvstore.Snapshot && !v.synced
	first := len(v.records) == 0
	if first {
		v.records = make(records, len(decoded))
		changes = make([]change, 0, len(decoded))
	}
	defer func() { v.loading = false }()
	newLog = v.log != "" && step.Log != v.log
	why := Reason("")
	if newLog {
		why = ReasonNewLog
	}
	v.log = step.Log
	if newLog {
		v.whole = 0
	}
	if step.Kind == kvstore.Snapshot {
		if step.Revision < v.whole {
			return nil, false // an old one
		}
		v.synced, v.whole = true, step.Revision
	}
	if !first && (step.Kind == kvstore.Snapshot || newLog) {
		have := make(map[string]struct{}, len(decoded))
		for _, e := range decoded {
			have[e.key] = struct{}{}
		}
		for key, old := range v.records {
			if _, ok := have[key]; newLog || !ok && old.revision <= step.Revision {
				v.forget(old)
				delete(v.records, key)
				changes = append(changes, change{key: key, old: old})
			}
		}
	}
	for _, e := range decoded {
		v.stored = max(v.stored, e.stored)
		old := v.records[e.key]
		if old != nil && e.revision <= old.revision && !(step.Kind == kvstore.Snapshot && old.contradicts(e, step.Revision)) {
			continue // the higher revision wins, so that order and repetition cannot hurt
		}
		if step.Kind == kvstore.Append && e.revision <= v.whole {
			continue // the snapshot has seen it: if the key is not there now, it has vanished since, without an entry
		}
		if old != nil {
			v.forget(old)
		}
		v.records[e.key] = e
		v.remember(e)
		changes = append(changes, change{key: e.key, old: old, new: e})
	}
	v.previous = v.revision
	if newLog || step.Revision > v.revision {
		v.revision = step.Revision
	}
	v.judge(changes, why, collapsed, first)
	return changes, newLog
}

// contradicts tells whether what the view has of a key cannot be, by a snapshot at revision at that has e: something was in the feed that is not in the log.
func (e *entry) contradicts(now *entry, at kvstore.Revision) bool {
	if e.revision > at {
		return false // it came since
	}
	return e.revision != now.revision || e.stored != now.stored || e.ended != now.ended || e.session != now.session || e.writer != now.writer
}

func (v *view) forget(e *entry) {
	if keys := v.keys[e.session]; e.session != "" {
		if delete(keys, e.key); len(keys) == 0 {
			delete(v.keys, e.session)
		}
	}
}

func (v *view) remember(e *entry) {
	if e.session == "" {
		return
	}
	keys := v.keys[e.session]
	if keys == nil {
		keys = map[string]struct{}{}
		v.keys[e.session] = keys
	}
	keys[e.key] = struct{}{}
}

// judge brings what is visible up to date after changes and tells the watchers. A lease that came or went moves every record of its session; at first
// they are all among the changes.
func (v *view) judge(changes []change, why Reason, collapsed, first bool) {
	order := make([]string, 0, len(changes)) // name and group keys, as they changed
	affected := make(map[string]Reason, len(changes))
	touch := func(key string, reason Reason, over bool) {
		if _, ok := affected[key]; !ok {
			order = append(order, key)
		} else if !over {
			return
		}
		affected[key] = reason
	}
	for _, c := range changes {
		reason := why
		if reason == "" {
			reason = endReason(c)
		}
		kind, session := splitKey(c.key)
		switch kind {
		case kindName, kindGroup, kindStandby, kindReplica, kindProperty, kindClaim:
			touch(c.key, reason, reason != "")
		case kindLease:
			if v.records.alive(session) {
				v.leases[session] = v.records[c.key].value.(*Lease)
			} else if _, was := v.leases[session]; was {
				delete(v.leases, session)
				v.fire(c.key, reason)
			}
			if first {
				continue
			}
			for _, key := range slices.Sorted(maps.Keys(v.keys[session])) {
				touch(key, reason, false)
			}
		}
	}
	for _, key := range order { // replicas first, a name may hang on them; and a claim ends with the member that is claimed
		switch kind, rest := splitKey(key); kind {
		case kindReplica:
			if of, instance, ok := splitGroup(rest); ok {
				v.judgeReplica(of, instance, key, affected[key])
				touch(nameKey(of), affected[key], false)
			}
		case kindGroup:
			if key := kindClaim + "." + rest; v.records[key] != nil {
				touch(key, affected[kindGroup+"."+rest], false)
			}
		}
	}
	for _, key := range order {
		reason := affected[key]
		switch kind, rest := splitKey(key); kind {
		case kindName:
			v.judgeName(rest, key, reason, collapsed)
		case kindProperty:
			if session, name, ok := strings.Cut(rest, "."); ok {
				v.judgeProperty(session, name, key, reason, collapsed)
			}
		case kindGroup, kindStandby, kindClaim:
			of, instance, ok := splitGroup(rest)
			switch {
			case !ok:
			case kind == kindGroup:
				v.judgeMember(of, instance, key, reason, collapsed)
			case kind == kindStandby:
				v.judgeStandby(of, instance, key, reason)
			default:
				v.judgeClaim(of, instance, key, reason)
			}
		}
	}
	v.index.limit()
}

// endReason reads why a change ended what was there: from the tombstone, or from the record that took its place.
func endReason(c change) Reason {
	switch {
	case c.new == nil:
		return ReasonRemoved
	case c.new.ended, c.new.reason != "" && c.old != nil && c.old.session != c.new.session:
		return c.new.reason
	case c.old != nil && c.old.session != c.new.session:
		return ReasonReplaced
	}
	return ""
}

func (v *view) judgeName(name, key string, reason Reason, collapsed bool) {
	e := v.records[key]
	now := v.records.shown(e, v.sharer(name, e))
	was := v.names.find(name)
	if was == now || was != nil && now != nil && was.Revision == now.Revision && was.Instance == now.Instance && was.Session == now.Session {
		return
	}
	v.index.note(name, was, now)
	if was != nil {
		unlink(v.holds, was.Instance, name)
	}
	v.names.put(name, now)
	if now != nil {
		link(v.holds, now.Instance, name, now)
	}
	switch {
	case now != nil && was != nil && was.Token == now.Token && (was.Session == now.Session && was.Instance == now.Instance || now.Digest != "" && now.Digest == was.Digest):
		v.tell(Event{Kind: Updated, Record: *now, Collapsed: collapsed, before: was})
		return
	case was != nil:
		if reason == "" {
			reason = ReasonReplaced
		}
		v.fire(key, reason)
		v.tell(Event{Kind: Unregistered, Record: *was, Reason: reason, Collapsed: collapsed})
	}
	if now != nil {
		v.tell(Event{Kind: Registered, Record: *now, Collapsed: collapsed})
	}
}

// orphans lists up to limit records whose session is dead, for the sweep.
func (v *view) orphans(limit int) []*entry {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var out []*entry
	for session, keys := range v.keys {
		if v.records.alive(session) {
			continue
		}
		for key := range keys {
			if e := v.records[key]; v.orphan(e) {
				if out = append(out, e); len(out) == limit {
					return out
				}
			}
		}
	}
	return out
}

// newest returns the newest record of a key, or nil.
func (v *view) newest(key string) *entry {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.records[key]
}

// claim judges whether key can be taken, and at which revision of the view that was so. A name that is free but for its standbys has an heir.
func (v *view) claim(key string) (claim, kvstore.Revision) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	judged := v.records.claim(key)
	if kind, name := splitKey(key); kind == kindName {
		e := v.records[key]
		judged = v.records.claimName(e, judged, v.sharer(name, e), v.heir(name))
	}
	return judged, v.revision
}

// keysOf lists the keys whose newest record is the session's, its lease among them.
func (v *view) keysOf(session string) []*entry {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]*entry, 0, len(v.keys[session]))
	for key := range v.keys[session] {
		out = append(out, v.records[key])
	}
	return out
}

// living copies the sessions that are alive.
func (v *view) living() map[string]*Lease {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return maps.Clone(v.leases)
}

// pulse returns the newest pulse, or nil where there is none, with the revision of its key's newest entry (0: none).
func (v *view) pulse() (*pulse, kvstore.Revision) {
	e := v.newest(keyPulse)
	if e == nil {
		return nil, 0
	}
	p, _ := e.value.(*pulse)
	if e.ended {
		p = nil
	}
	return p, e.revision
}

func (v *view) at() (revision kvstore.Revision, log string, synced bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.revision, v.log, v.synced
}

// staleAfter is how much later than its writing an entry may reach a view that works.
const staleAfter = 250 * time.Millisecond
