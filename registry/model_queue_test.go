package registry

import (
	"fmt"
	"iter"
	"math/bits"

	"github.com/toolbus/toolbus/kvstore"
)

// The model of one name that sessions claim, queue for, give away, take by force and share. Nobody has to do anything at any moment. A decision is
// made on any view, that is on any prefix of the log, followed or begun from a snapshot that lacks what has vanished; the write that follows from it may
// come at any later time, when its session has long ended, or never, and any number of them are under way at once. So the log is the whole state:
// from it follows every write that may still come. The real judge decides; what sessions make of its word mirrors claim.go, standby.go,
// transfer.go, share.go and holding.go, and is in model_queue_steps_test.go.
//
// What must be true, at each entry, of every view that has applied it:
//
//  1. One holder. A name is shown as held exactly where its newest record's session lives or, of a shared name, a replica of its digest does: by that
//     session, else by the living replica that joined first. Those who hold one name at one time share it by one digest.
//  2. No robbery. Nobody who lives loses the name, or his share of it, but by what he sent himself, or by a Replace of one who lives.
//  3. Tokens. A claim, a transfer and a Replace get a token above all before them; an update, a replica that joins, a hand-over and the take-over of a
//     shared name's record keep the token.
//  4. Nobody is passed over. Where a name is free, and one that lives stood by before it became so, nobody has it but the first in the
//     queue. (Out of its scope by design: Replace; a transfer that comes after its giver has died, which is his last will; a replica that joins the
//     record of its digest: who shares goes before who stands by.)
//  5. One election for one place: who is elected has left the queue in the same step.
//  6. The dead hold nothing: no record of a session that has ended is visible, and the judge's heir is the living one that queued first.
//  7. A shared name stays: while a replica of its digest lives, the name is shown with that digest, unless a Replace has taken it.
//  8. One truth: what is shown, what a claim is told, and what the sweep may take agree, for a view that followed and one from a snapshot.

const (
	queueSessions = 3
	queueMost     = 16
	queueName     = "n"
	queueDigest   = "d"
	nobody        = 0xff
)

type queueKind uint8

const (
	qOpened queueKind = 1 + iota
	qEnded
	qVanished // no entry of the name: its tombstone vanishes from the bucket
	qNamed
	qUnnamed
	qWaits
	qWithdrawn
	qServes
	qUnserves
)

// queueLine is one entry of the log.
type queueLine struct {
	kind     queueKind
	session  uint8
	instance uint8
	shared   bool
	mark     uint8 // the token or the place as it was written; 0: none
	more     bool  // it is in one batch with the next
}

// queueState is the log.
type queueState struct {
	log [queueMost]queueLine
	n   uint8
}

// key tells which record a line is about.
func (l queueLine) key() (kind queueKind, instance uint8) {
	switch l.kind {
	case qNamed, qUnnamed:
		return qNamed, 0
	case qWaits, qWithdrawn:
		return qWaits, l.instance
	case qServes, qUnserves:
		return qServes, l.instance
	}
	return l.kind, l.session
}

// newest is the newest entry of a record in the bucket; 0 where there is none.
func (s *queueState) newest(kind queueKind, instance uint8) (revision uint8, line queueLine) {
	for i := s.n; i > 0; i-- {
		l := s.log[i-1]
		if l.kind == qVanished && kind == qNamed {
			return 0, queueLine{}
		}
		if k, in := l.key(); k == kind && in == instance {
			return i, l
		}
	}
	return 0, queueLine{}
}

// lives says it without the judge: a session lives that was opened and has never ended.
func (s *queueState) lives(session uint8) bool {
	opened := false
	for _, l := range s.log[:s.n] {
		if l.session == session && l.kind == qEnded {
			return false
		}
		opened = opened || l.session == session && l.kind == qOpened
	}
	return opened
}

// marked is the token that a line has in the end.
func (l queueLine) marked(revision uint8) uint8 {
	if l.mark == 0 {
		return revision
	}
	return l.mark
}

// serving are the sessions with a living replica, as a set, and the first of them to have joined.
func (s *queueState) serving() (set, first uint8) {
	return s.living(qServes)
}

// living are the sessions that live and have a record of that kind, as a set, and the one that had it first.
func (s *queueState) living(kind queueKind) (set, first uint8) {
	first = nobody
	earliest := uint8(0xff)
	for i := range uint8(queueSessions) {
		at, l := s.newest(kind, i)
		if l.kind != kind || !s.lives(l.session) {
			continue
		}
		set |= 1 << l.session
		if at < earliest { // neither a replica nor a standby is written twice here
			first, earliest = l.session, at
		}
	}
	return set, first
}

// holders are the sessions that hold the name, as a set, and the one that it is shown as held by.
func (s *queueState) holders() (set, shown uint8) {
	_, top := s.newest(qNamed, 0)
	if top.kind != qNamed {
		return 0, nobody
	}
	shown = nobody
	if top.shared {
		set, shown = s.serving()
	}
	if s.lives(top.session) {
		set, shown = set|1<<top.session, top.session
	}
	return set, shown
}

// before is the log up to an entry.
func (s queueState) before(n uint8) queueState {
	clear(s.log[n:])
	s.n = n
	return s
}

// freedAt is the revision from which on any view shows the name as free: the later of its newest entry and the end of its last holder.
func (s *queueState) freedAt() uint8 {
	newest, _ := s.newest(qNamed, 0)
	for n := s.n; n > newest; n-- {
		short := s.before(n - 1)
		if set, _ := short.holders(); set != 0 {
			return n
		}
	}
	return newest
}

// checkCommit is what must be true of a write that the log accepts.
func (r *queueRules) checkCommit(s, to *queueState, w *queueWrite) string {
	had, _ := s.holders()
	has, _ := to.holders()
	lost := had &^ has &^ (1 << w.by)
	if lost != 0 && (w.verb != vReplace || !s.lives(w.by)) {
		return fmt.Sprintf("2: %s is robbed", sessionID(uint8(bits.TrailingZeros8(lost))))
	}
	at, line := to.newest(qNamed, 0)
	_, over := s.newest(qNamed, 0)
	if at > s.n && line.kind == qNamed {
		if bad := s.checkToken(over, line, line.marked(at), had&has != 0); bad != "" {
			return "3: " + bad
		}
		joins := over.kind == qNamed && over.shared && line.shared && line.mark != 0
		if had == 0 && has != 0 && w.verb != vReplace && w.verb != vTransfer && !joins {
			if bad := s.checkQueue(line.session); bad != "" {
				return "4: " + bad
			}
		}
	}
	if w.verb == vSucceed {
		if _, l := to.newest(qWaits, r.hosts[w.by]); l.kind == qWaits && l.session == w.by {
			return "5: who was elected stands in the queue still"
		}
	}
	if served, _ := to.serving(); over.kind == qNamed && over.shared && had != 0 && served != 0 && w.verb != vReplace && (line.kind != qNamed || !line.shared) {
		return "7: a shared name is gone while a replica lives"
	}
	return ""
}

func (s *queueState) checkToken(over, line queueLine, token uint8, stays bool) string {
	most := uint8(0)
	for i, l := range s.log[:s.n] {
		if l.kind == qNamed {
			most = max(most, l.marked(uint8(i+1)))
		}
	}
	same := over.kind == qNamed && over.shared == line.shared && (over.session == line.session || line.shared)
	if token > most && !(stays && same) || token == most && same {
		return ""
	}
	return fmt.Sprintf("token %d after %d", token, most)
}

// checkQueue tells whether somebody who was waiting is passed over by a claim.
func (s *queueState) checkQueue(claimant uint8) string {
	freed := s.freedAt()
	_, first := s.living(qWaits)
	for i := range uint8(queueSessions) {
		at, l := s.newest(qWaits, i)
		if l.kind == qWaits && l.session != claimant && s.lives(l.session) && at <= freed && first != claimant {
			return fmt.Sprintf("%s is passed over", sessionID(l.session))
		}
	}
	return ""
}

// checkEnd is what must be true of every view of the whole log.
func (r *queueRules) checkEnd(s *queueState) string {
	set, holder := s.holders()
	_, top := s.newest(qNamed, 0)
	_, first := s.living(qWaits)
	for rs := range r.views(s) {
		e := rs[nameKey(queueName)]
		sharer := r.sharerOf(rs, e)
		shown := r.shown(rs, e, sharer)
		switch {
		case (shown != nil) != (set != 0):
			return fmt.Sprintf("1: the name is held: %v; shown: %v", set != 0, shown)
		case shown != nil && (shown.Session != sessionID(holder) || (shown.Digest != "") != top.shared):
			return fmt.Sprintf("1: %s holds the name; shown: %v", sessionID(holder), shown)
		}
		for _, e := range rs {
			if e.value != nil && rs.visible(e) != s.lives(e.session[0]-'A') {
				return fmt.Sprintf("6: %s is visible", e.key)
			}
		}
		if heir := r.heir(rs, queueName); (heir == nil) != (first == nobody) || heir != nil && heir.session != sessionID(first) {
			return "6: the heir is not the first in the queue that lives"
		}
		if judged := r.claimName(rs); (judged.held != nil) != (set != 0) {
			return fmt.Sprintf("8: the name is held: %v; a claim is told: %v", set != 0, judged.held != nil)
		}
		if e != nil && !e.ended && r.orphan(rs, e, sharer) == (set != 0) {
			return fmt.Sprintf("8: the name is held: %v, and its record an orphan: %v", set != 0, set != 0)
		}
	}
	return ""
}

// entryOf is a line as the view has it.
func (r *queueRules) entryOf(l queueLine, revision uint8) *entry {
	l.more = false
	cached := &r.decoded[revision]
	if *cached == nil {
		*cached = map[queueLine]*entry{}
	}
	if out := (*cached)[l]; out != nil {
		return out
	}
	mark, session, instance := kvstore.Revision(l.mark), sessionID(l.session), sessionID(l.instance)
	var in kvstore.Entry
	switch l.kind {
	case qOpened:
		in = putLease(session)
	case qEnded:
		in = del(leaseKey(session), ReasonSilent)
	case qNamed:
		rec := Record{Name: queueName, Session: session, Instance: instance, Token: mark}
		if l.shared {
			rec.Digest = queueDigest
		}
		in = put(nameKey(queueName), encode(nameRecord{Record: rec, V: recordVersion}))
	case qUnnamed:
		in = del(nameKey(queueName), ReasonUnregistered)
	case qWaits:
		in = putWaiting(queueName, instance, session, mark)
	case qWithdrawn:
		in = del(standbyKey(queueName, instance), ReasonLeft)
	case qServes:
		in = putReplica(queueName, instance, session, queueDigest, mark)
	case qUnserves:
		in = del(replicaKey(queueName, instance), ReasonUnregistered)
	default:
		in = put(keyBarrier+".p", nil)
	}
	in.Revision = kvstore.Revision(revision)
	(*cached)[l] = decode(in)
	return (*cached)[l]
}

// views are the records of a log, and where that is not the same, the records of a view from a snapshot: it lacks the tombstones of leases, and
// the name's where that has vanished.
func (r *queueRules) views(s *queueState) iter.Seq[records] {
	return func(yield func(records) bool) {
		rs := make(records, s.n)
		for i, l := range s.log[:s.n] {
			e := r.entryOf(l, uint8(i+1))
			rs[e.key] = e
		}
		if !yield(rs) {
			return
		}
		less := false
		named, _ := s.newest(qNamed, 0)
		for key, e := range rs {
			if kind, _ := splitKey(key); e.ended && (kind == kindLease || kind == kindName && named == 0) {
				delete(rs, key)
				less = true
			}
		}
		if less {
			yield(rs)
		}
	}
}

func (r *queueRules) show(s queueState) string {
	out := ""
	for i, l := range s.log[:s.n] {
		out += fmt.Sprintf(" %d:%s%s", i+1, sessionID(l.session), []string{"", "+", "-", " vanish", "=name", " no name", " waits", " withdrawn", " serves", " unserves"}[l.kind])
		if l.mark != 0 {
			out += fmt.Sprintf("(%d)", l.mark)
		}
		if l.more {
			out += "&"
		}
	}
	return out
}
