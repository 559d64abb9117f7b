package registry

import (
	"fmt"

	"github.com/toolbus/toolbus/kvstore"
)

// The model of the claim rules: three sessions and one name. The judge itself decides; only the log with its conditional writes is modelled. A
// decision is made on any view: any prefix of the log, followed from its beginning or begun from a snapshot that lacks the tombstones that
// have vanished. The write that follows from it may reach the log at any later time, also when its session has ended, or never.

const (
	judgeSessions = 3
	judgeFlight   = 3  // writes under way at once
	judgeMost     = 10 // entries in the log, with the larger bound
	judgeName     = "n"
)

type judgeKind uint8

const (
	leaseOpened judgeKind = 1 + iota
	leaseEnded
	nameClaimed
	nameReleased
	nameSwept
)

// judgeEntry is one line of the log.
type judgeEntry struct {
	kind    judgeKind
	session uint8
	token   uint8 // as it was written: 0 in a claim
}

// judgeWrite is a write under way.
type judgeWrite struct {
	judgeEntry
	expect uint8 // the revision that the name's newest entry must have
	seen   uint8 // the newest entry that its writer's view had
}

type judgeState struct {
	log      [judgeMost]judgeEntry
	n        uint8
	flight   [judgeFlight]judgeWrite
	vanished uint8 // the newest of the name's tombstones that the bucket has forgotten
	when     uint8 // the end of the log then
}

// judgeRules are what the model explores: the judge's functions and the log's, each of which a mutant may replace.
type judgeRules struct {
	most    uint8
	claim   func(rs records, key string) claim
	visible func(rs records, e *entry) bool
	orphan  func(rs records, e *entry) bool
	accepts func(w judgeWrite, newest uint8, tombstone bool) bool
	token   func(over *entry, rs records) uint8
	expect  func(judged, newest kvstore.Revision) kvstore.Revision
	reuse   bool // lease ids are used again
}

func codeRules(most int) *judgeRules {
	return &judgeRules{
		most:    uint8(most),
		claim:   records.claim,
		visible: records.visible,
		orphan:  func(rs records, e *entry) bool { return rs.orphan(e, nil) },
		accepts: func(w judgeWrite, newest uint8, _ bool) bool { return w.expect == newest },
		token: func(over *entry, _ records) uint8 { // as Register does
			if over != nil {
				return uint8(over.value.(*Record).Token)
			}
			return 0
		},
		expect: func(judged, _ kvstore.Revision) kvstore.Revision { return judged },
	}
}

// judgeDecoded keeps each entry that was decoded once.
var judgeDecoded = map[judgeEntry]map[int]*entry{}

func sessionID(i uint8) string { return string(rune('A' + i)) }

// decoded is an entry of the log as the view has it.
func (e judgeEntry) decoded(revision int) *entry {
	cache := judgeDecoded[e]
	if cache == nil {
		cache = map[int]*entry{}
		judgeDecoded[e] = cache
	}
	if out := cache[revision]; out != nil {
		return out
	}
	var in kvstore.Entry
	switch session := sessionID(e.session); e.kind {
	case leaseOpened:
		in = putLease(session)
	case leaseEnded:
		in = del(leaseKey(session), ReasonSilent)
	case nameClaimed:
		in = put(nameKey(judgeName), encode(nameRecord{Record: Record{Name: judgeName, Session: session, Token: kvstore.Revision(e.token)}, V: recordVersion}))
	default:
		in = del(nameKey(judgeName), ReasonUnregistered)
	}
	in.Revision = kvstore.Revision(revision)
	cache[revision] = decode(in)
	return cache[revision]
}

// view is the records of a prefix of the log; one that began from a snapshot lacks what had vanished by then.
func (s *judgeState) view(prefix int, snapshot bool) records {
	rs := records{}
	for i, e := range s.log[:prefix] {
		d := e.decoded(i + 1)
		rs[d.key] = d
	}
	if snapshot {
		for key, e := range rs {
			if e.ended && (key != nameKey(judgeName) || uint8(e.revision) == s.vanished && int(s.when) <= prefix) {
				delete(rs, key)
			}
		}
	}
	return rs
}

// newest is the name's newest entry in the bucket; 0 if there is none.
func (s *judgeState) newest() (revision uint8, e judgeEntry) {
	for i := s.n; i > 0; i-- {
		if e := s.log[i-1]; e.kind >= nameClaimed && i != s.vanished {
			return i, e
		} else if i == s.vanished {
			break
		}
	}
	return 0, judgeEntry{}
}

// lives says it without the judge: a session lives that was opened and has never ended.
func (s *judgeState) lives(session uint8) bool {
	opened, ended := false, false
	for _, e := range s.log[:s.n] {
		if e.session == session {
			opened = opened || e.kind == leaseOpened
			ended = ended || e.kind == leaseEnded
		}
	}
	return opened && !ended
}

func (r *judgeRules) show(s judgeState) string {
	out := ""
	for i, e := range s.log[:s.n] {
		out += fmt.Sprintf(" %d:%s%s", i+1, sessionID(e.session), []string{"", "+", "-", "=name", " releases", " sweeps"}[e.kind])
	}
	return out
}

func (r *judgeRules) next(s judgeState, emit func(step, judgeState, string)) {
	newest, top := s.newest()
	if s.n < r.most {
		for i := range uint8(judgeSessions) {
			_, isNew := s.leaseAt(i)
			switch {
			case isNew && (i == 0 || opened(s, i-1)): // sessions differ by nothing but their ids
				r.commit(s, judgeEntry{leaseOpened, i, 0}, step{"open", int(i), 0}, emit)
			case s.lives(i):
				r.commit(s, judgeEntry{leaseEnded, i, 0}, step{"end", int(i), 0}, emit)
			case !isNew && r.reuse:
				r.commit(s, judgeEntry{leaseOpened, i, 0}, step{"open again", int(i), 0}, emit)
			}
		}
		for i, w := range s.flight {
			if w.kind == 0 || !r.accepts(w, newest, top.kind > nameClaimed) {
				continue
			}
			to := s
			to.flight[i] = judgeWrite{}
			bad := r.judgeCommit(&s, w, newest, top)
			r.write(&to, w.judgeEntry, newest)
			if bad == "" {
				bad = r.checkEnd(&to)
			}
			r.tidy(&to)
			emit(step{"commit of " + sessionID(w.session), int(w.kind), int(w.expect)}, to, bad)
		}
	}
	if top.kind > nameClaimed {
		to := s
		to.vanished, to.when = newest, s.n
		r.tidy(&to)
		emit(step{"vanish", int(newest), 0}, to, r.checkEnd(&to))
	}
	if s.flight[judgeFlight-1].kind == 0 && s.n < r.most {
		for prefix := range int(s.n) + 1 {
			r.decide(&s, prefix, false, newest, emit)
			if s.vanished != 0 && prefix >= int(s.when) {
				r.decide(&s, prefix, true, newest, emit)
			}
		}
	}
}

func opened(s judgeState, i uint8) bool { _, isNew := s.leaseAt(i); return !isNew }

// leaseAt is where a session's lease was first opened.
func (s *judgeState) leaseAt(i uint8) (at int, isNew bool) {
	for at, e := range s.log[:s.n] {
		if e.kind == leaseOpened && e.session == i {
			return at + 1, false
		}
	}
	return 0, true
}

// decide puts under way every write that follows from one view.
func (r *judgeRules) decide(s *judgeState, prefix int, snapshot bool, newest uint8, emit func(step, judgeState, string)) {
	rs := s.view(prefix, snapshot)
	e := rs[nameKey(judgeName)]
	seen := uint8(0)
	if e != nil {
		seen = uint8(e.revision)
	}
	send := func(what string, w judgeWrite) {
		to := *s
		w.seen = seen
		to.flight[judgeFlight-1] = w
		r.tidy(&to)
		emit(step{what + " by " + sessionID(w.session) + " at", prefix, int(w.expect)}, to, "")
	}
	judged := r.claim(rs, nameKey(judgeName))
	for i := range uint8(judgeSessions) {
		if !rs.alive(sessionID(i)) { // nothing is written before the lease was applied, nor by one who knows that he has ended
			continue
		}
		if judged.held == nil || judged.held.session == sessionID(i) {
			expect := r.expect(judged.expect, kvstore.Revision(newest))
			send("claim", judgeWrite{judgeEntry: judgeEntry{nameClaimed, i, r.token(judged.held, rs)}, expect: uint8(expect)})
		}
		if e != nil && !e.ended && e.session == sessionID(i) {
			send("release", judgeWrite{judgeEntry: judgeEntry{nameReleased, i, 0}, expect: seen})
		}
	}
	if e != nil && r.orphan(rs, e) {
		send("sweep", judgeWrite{judgeEntry: judgeEntry{nameSwept, e.session[0] - 'A', 0}, expect: seen})
	}
}

// commit appends an entry that nothing can refuse.
func (r *judgeRules) commit(s judgeState, e judgeEntry, how step, emit func(step, judgeState, string)) {
	newest, _ := s.newest()
	r.write(&s, e, newest)
	bad := r.checkEnd(&s)
	r.tidy(&s)
	emit(how, s, bad)
}

func (r *judgeRules) write(s *judgeState, e judgeEntry, newest uint8) {
	s.log[s.n] = e
	s.n++
	if e.kind >= nameClaimed && newest == 0 {
		s.vanished, s.when = 0, 0 // what had vanished is covered
	}
}

// tidy drops writes that can never be accepted any more and puts the others in order.
func (r *judgeRules) tidy(s *judgeState) {
	newest, _ := s.newest()
	n := 0
	for _, w := range s.flight {
		if w.kind == 0 || w.expect != 0 && !r.accepts(w, newest, false) && !r.accepts(w, newest, true) {
			continue
		}
		at := n
		for ; at > 0 && w.less(s.flight[at-1]); at-- {
			s.flight[at] = s.flight[at-1]
		}
		s.flight[at] = w
		n++
	}
	for ; n < judgeFlight; n++ {
		s.flight[n] = judgeWrite{}
	}
}

func (w judgeWrite) less(o judgeWrite) bool { return w.packed() < o.packed() }

func (w judgeWrite) packed() uint64 {
	return uint64(w.kind)<<32 | uint64(w.session)<<24 | uint64(w.token)<<16 | uint64(w.expect)<<8 | uint64(w.seen)
}

// judgeCommit is what must be true of each write that the log accepts.
func (r *judgeRules) judgeCommit(s *judgeState, w judgeWrite, newest uint8, top judgeEntry) string {
	held := top.kind == nameClaimed && s.lives(top.session)
	switch {
	case held && top.session != w.session:
		return "a living owner is robbed"
	case w.kind == nameSwept && (held || w.seen != newest):
		return "a sweep removes what it did not judge"
	case w.seen != newest:
		return "a write lands on what its writer has not read"
	}
	if w.kind != nameClaimed || !s.lives(w.session) {
		return "" // a late write of a dead session holds nothing, whatever its token
	}
	token, most := w.token, uint8(0)
	if token == 0 {
		token = s.n + 1
	}
	for i, e := range s.log[:s.n] {
		if e.kind == nameClaimed {
			most = max(most, uint8(e.decoded(i+1).value.(*Record).Token))
		}
	}
	if held && token != most || !held && token <= most {
		return fmt.Sprintf("token %d after %d", token, most)
	}
	return ""
}

// checkEnd is what must be true of the log as a whole, for a view that followed and for one from a snapshot.
func (r *judgeRules) checkEnd(s *judgeState) string {
	_, top := s.newest()
	held := top.kind == nameClaimed && s.lives(top.session)
	for _, snapshot := range []bool{false, true} {
		rs := s.view(int(s.n), snapshot)
		e := rs[nameKey(judgeName)]
		visible := e != nil && r.visible(rs, e)
		if judged := r.claim(rs, nameKey(judgeName)); visible != held || (judged.held != nil) != held {
			return fmt.Sprintf("the name is held: %v; the judge shows it: %v, and says so to a claim: %v", held, visible, judged.held != nil)
		}
		for i := range uint8(judgeSessions) {
			if rs.alive(sessionID(i)) != s.lives(i) {
				return fmt.Sprintf("session %s lives: %v", sessionID(i), s.lives(i))
			}
		}
		if e != nil && !e.ended && r.orphan(rs, e) == held {
			return fmt.Sprintf("the name is held: %v, and its record an orphan", held)
		}
	}
	holders := 0
	for i := range uint8(judgeSessions) { // by what each session itself has had accepted
		last := judgeKind(0)
		for _, e := range s.log[:s.n] {
			if e.session == i && e.kind >= nameClaimed {
				last = e.kind
			}
		}
		if last == nameClaimed && s.lives(i) {
			holders++
		}
	}
	if holders > 1 {
		return fmt.Sprintf("%d sessions hold the name", holders)
	}
	return ""
}
