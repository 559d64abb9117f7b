package registry

import "github.com/toolbus/toolbus/kvstore"

// This file is the judge: it says what a set of records means. It is pure: it knows no clock, does no I/O and remembers nothing. The records
// that it is given are the newest of each key, tombstones included, so that a view that started from a snapshot today judges exactly
// as one that has followed the log for a year.

// records is the newest record of each key.
type records map[string]*entry

// alive tells whether a session's lease is in the log. A lease id is created once and never again, so a session that is not alive at or
// after the revision of one of its records is dead for ever.
func (rs records) alive(session string) bool {
	lease := rs[leaseKey(session)]
	return session != "" && lease != nil && !lease.ended && lease.session == session
}

// visible tells whether a record holds what its key says: it is no tombstone, it can be read, and its session is alive. A record of a session
// without a lease is a late write of a dead one, or waits to be swept: it holds nothing.
func (rs records) visible(e *entry) bool {
	if e == nil || e.ended || e.value == nil || !rs.alive(e.session) {
		return false
	}
	c, is := e.value.(*Claimed)
	return !is || rs.claimed(c)
}

// claimed tells whether what a claim is on is there: that membership, of that very session. So a claim ends with the claimed as with the claimant.
func (rs records) claimed(c *Claimed) bool {
	m := rs[groupKey(c.Group, c.Instance)]
	return m != nil && m.session == c.Owner && rs.visible(m)
}

// claim is what the judge says to somebody who wants a key: either it is held, by that record, or it may be written if the key's newest entry
// is still at the revision that the judge has seen.
type claim struct {
	held   *entry           // who holds the key, or nil
	over   *entry           // the key's newest entry, or nil: that which is written over
	expect kvstore.Revision // 0: write only if there is nothing, not even a tombstone
	heir   *entry           // of a name that nobody holds: the standby that alone may write it, or nil
}

// claim judges whether key can be taken. Over a tombstone or an orphan one claims by its revision: whoever was quicker moved it.
func (rs records) claim(key string) claim {
	e := rs[key]
	switch {
	case e == nil:
		return claim{}
	case rs.visible(e):
		return claim{held: e, over: e, expect: e.revision}
	default:
		return claim{over: e, expect: e.revision}
	}
}

// sharer returns the replica that stands for a shared name when its record's session is dead: the living one of that digest that joined first.
func (rs records) sharer(name, digest string) *entry {
	var first *entry
	for key, e := range rs {
		kind, rest := splitKey(key)
		if of, _, ok := splitGroup(rest); kind == kindReplica && ok && of == name && rs.visible(e) && joinedBefore(e, first, digest) {
			first = e
		}
	}
	return first
}

// joinedBefore tells whether a replica is one of that digest and before another.
func joinedBefore(e, than *entry, digest string) bool {
	r := e.value.(*Replica)
	return r.Digest == digest && (than == nil || before(r.Place, e, than.value.(*Replica).Place, than))
}

// shown returns what a name's newest record shows, given its living sharer: the record itself while its session is alive, the sharer in its place
// while one lives, else nothing. The token stays: all who share a name accept the same.
func (rs records) shown(e, sharer *entry) *Record {
	rec, ok := recordOf(e)
	switch {
	case !ok:
		return nil
	case rs.visible(e):
		return rec
	case sharer == nil || rec.Digest == "" || rec.Digest != sharer.value.(*Replica).Digest:
		return nil
	}
	shown := *rec
	shown.standFor(sharer.value.(*Replica))
	return &shown
}

// claimName is claim for a name: one whose record's session is dead may be held by a sharer, and one that is free may have an heir.
func (rs records) claimName(e *entry, judged claim, sharer, heir *entry) claim {
	if judged.held != nil {
		return judged
	}
	if rec := rs.shown(e, sharer); rec != nil {
		judged.held = &entry{key: e.key, revision: e.revision, session: rec.Session, writer: e.writer, value: rec}
		return judged
	}
	judged.heir = heir
	return judged
}

// heir returns the standby that alone may claim name while nobody holds it: the living one that began to wait first. Who decides on records that
// show the name free has every standby among them that queued before, so nobody slips in ahead of one.
func (rs records) heir(name string) *entry {
	var first *entry
	for key, e := range rs {
		kind, rest := splitKey(key)
		if of, _, ok := splitGroup(rest); kind == kindStandby && ok && of == name && rs.visible(e) && ahead(e, first) {
			first = e
		}
	}
	return first
}

// ahead tells whether a standby is before another in the queue.
func ahead(e, than *entry) bool {
	return than == nil || before(e.value.(*Waiting).Place, e, than.value.(*Waiting).Place, than)
}

// before orders places. Nobody writes one that is another's; should it be so all the same, every view has one and the same order.
func before(a kvstore.Revision, e *entry, b kvstore.Revision, than *entry) bool {
	return a < b || a == b && e.key < than.key
}

// orphan tells whether a record is left over from a session that is dead: it holds nothing and may be swept, guarded by its revision. Of a shared
// name that holds only when no sharer lives. A record that cannot be read is not swept: a later version, or another tool, may know what it is.
func (rs records) orphan(e, sharer *entry) bool {
	if e.ended || e.session == "" || e.value == nil || e.key == leaseKey(e.session) || rs.alive(e.session) {
		return false
	}
	return rs.shown(e, sharer) == nil
}

// recordOf is the registration that an entry is, or says; ok is false for a tombstone and for what is none.
func recordOf(e *entry) (rec *Record, ok bool) {
	if e == nil || e.ended {
		return nil, false
	}
	rec, ok = e.value.(*Record)
	return rec, ok
}
