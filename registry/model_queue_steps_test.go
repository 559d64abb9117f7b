package registry

import (
	"slices"

	"github.com/toolbus/toolbus/kvstore"
)

// What sessions do in the model of one name, given what the judge says of a view.

type queueVerb uint16

const (
	vClaim    queueVerb = 1 << iota // Register
	vUpdate                         // Registration.Update
	vRelease                        // Unregister, and the removal of a record that its session does not want
	vStandBy                        // StandBy
	vWithdraw                       // Withdraw
	vSucceed                        // the claim of the heir, out of the queue in the same step
	vTransfer                       // Transfer
	vReplace                        // Register with Replace
	vShare                          // Register with a digest
	vUnshare                        // Unregister of a shared name
	vTakeOver                       // a replica takes the record over
	vSweep                          // the keeper's
	vVanish                         // a day goes by
	vEnd                            // of a session
)

var queueVerbs = []string{"claim", "update", "release", "stand by", "withdraw", "succeed", "transfer", "replace", "share", "unshare", "take over", "sweep", "vanish", "end"}

func (v queueVerb) String() string {
	for i, what := range queueVerbs {
		if v == 1<<i {
			return what
		}
	}
	return "?"
}

// queueWrite is a write under way: its lines, and the revision that each one's record must have.
type queueWrite struct {
	verb   queueVerb
	by     uint8
	n      uint8
	lines  [2]queueLine
	expect [2]uint8
	lease  bool // it is in one batch with its session's lease
}

// queueRules are what is explored: which steps there are, the judge's functions and what sessions make of them; a mutant replaces one.
type queueRules struct {
	verbs queueVerb
	most  uint8                // entries of the log, the first three of which open the sessions
	hosts [queueSessions]uint8 // the instance of each session

	sharer    func(rs records, name, digest string) *entry
	heir      func(rs records, name string) *entry
	shown     func(rs records, e, sharer *entry) *Record
	judge     func(rs records, e *entry, judged claim, sharer, heir *entry) claim
	orphan    func(rs records, e, sharer *entry) bool
	unguarded func(w *queueWrite, line int) bool // a write without a condition

	deadPlace  bool // a place is taken over with its record, whoever left it
	twoWrites  bool // the heir claims without leaving the queue in the same step
	leavesLast bool // it leaves first and then claims as the heir that it was
	keepsToken bool // a transfer keeps the token
	newToken   bool // a take-over of a shared name's record is a new claim
	alone      bool // a replica joins without writing the name's record
	removes    bool // who leaves a shared name removes its record
	litters    bool // a shared name's record that its session does not want is removed
	unleased   bool // a Replace is written without the lease of its session

	decoded [queueMost + 1]map[queueLine]*entry // by revision
	pending map[queueState][]queueWrite
}

func queueCode(verbs queueVerb, free int) *queueRules {
	return &queueRules{
		verbs: verbs, most: uint8(queueSessions + free), hosts: [queueSessions]uint8{0, 1, 2},
		sharer: records.sharer, heir: records.heir, shown: records.shown, judge: records.claimName, orphan: records.orphan,
		unguarded: func(*queueWrite, int) bool { return false },
		pending:   map[queueState][]queueWrite{},
	}
}

// start is a log with three sessions in it.
func (r *queueRules) start() (s queueState) {
	for i := range uint8(queueSessions) {
		s.log[i] = queueLine{kind: qOpened, session: i}
	}
	s.n = queueSessions
	return s
}

func (r *queueRules) sharerOf(rs records, e *entry) *entry {
	if rec, ok := recordOf(e); ok && rec.Digest != "" {
		return r.sharer(rs, queueName, rec.Digest)
	}
	return nil
}

func (r *queueRules) claimName(rs records) claim {
	e := rs[nameKey(queueName)]
	return r.judge(rs, e, rs.claim(nameKey(queueName)), r.sharerOf(rs, e), r.heir(rs, queueName))
}

func (r *queueRules) next(s queueState, emit func(step, queueState, string)) {
	pending := r.under(s)
	if s.n == r.most {
		return
	}
	for i := range uint8(queueSessions) {
		if s.lives(i) {
			r.commit(&s, queueWrite{verb: vEnd, by: i, n: 1, lines: [2]queueLine{{kind: qEnded, session: i}}}, emit)
		}
	}
	if _, top := s.newest(qNamed, 0); r.verbs&vVanish != 0 && top.kind == qUnnamed {
		r.commit(&s, queueWrite{verb: vVanish, by: nobody, n: 1, lines: [2]queueLine{{kind: qVanished}}}, emit)
	}
	for _, w := range pending {
		if s.n+w.n <= r.most && r.accepts(&s, &w) {
			r.commit(&s, w, emit)
		}
	}
}

func (r *queueRules) commit(s *queueState, w queueWrite, emit func(step, queueState, string)) {
	to := *s
	for i := range w.n {
		to.log[to.n] = w.lines[i]
		to.log[to.n].more = i+1 < w.n
		to.n++
	}
	if !r.first(&to) {
		return
	}
	bad := r.checkCommit(s, &to, &w)
	if bad == "" {
		bad = r.checkEnd(&to)
	}
	emit(step{w.verb.String() + " by", int(w.by), int(w.expect[0])}, to, bad)
}

// first tells whether a log is the one to explore of all that differ by the sessions' ids alone: there they appear in their order.
func (r *queueRules) first(s *queueState) bool {
	seen := uint8(0)
	for _, l := range s.log[queueSessions:s.n] {
		switch l.kind {
		case qEnded, qNamed, qWaits, qServes:
			for i := range l.session {
				alike := r.hosts == [queueSessions]uint8{0, 1, 2} || r.hosts[i] == r.hosts[l.session]
				if alike && seen&(1<<i) == 0 {
					return false
				}
			}
			seen |= 1 << l.session
		}
	}
	return true
}

// accepts tells whether the log takes a write: each of its records must be at the revision that it names, and its session's lease there where that is with it.
func (r *queueRules) accepts(s *queueState, w *queueWrite) bool {
	if w.lease && !s.lives(w.by) {
		return false
	}
	for i := range int(w.n) {
		if newest, _ := s.newest(w.lines[i].key()); newest != w.expect[i] && !r.unguarded(w, i) {
			return false
		}
	}
	return true
}

// under are the writes that may be under way at the end of a log: those of the log before its last step that the log may still take, and what
// is decided now. What a day lies between, vanished or not, has come or never comes.
func (r *queueRules) under(s queueState) []queueWrite {
	if out, ok := r.pending[s]; ok {
		return out
	}
	var out []queueWrite
	if s.n > queueSessions {
		n := s.n - 1
		for n > 0 && s.log[n-1].more {
			n--
		}
		for _, w := range r.under(s.before(n)) {
			if r.possible(&s, &w) && s.log[s.n-1].kind != qVanished {
				out = append(out, w)
			}
		}
	}
	if s.n < r.most {
		for rs := range r.views(&s) {
			r.decide(&s, rs, func(w queueWrite) {
				if !slices.Contains(out, w) {
					out = append(out, w)
				}
			})
		}
	}
	r.pending[s] = out
	return out
}

// possible tells whether a write may still be accepted: revisions never come back, but for none.
func (r *queueRules) possible(s *queueState, w *queueWrite) bool {
	if w.lease && !s.lives(w.by) {
		return false
	}
	for i := range int(w.n) {
		if newest, _ := s.newest(w.lines[i].key()); newest != w.expect[i] && w.expect[i] != 0 && !r.unguarded(w, i) {
			return false
		}
	}
	return true
}

func revisionOf(e *entry) uint8 {
	if e == nil {
		return 0
	}
	return uint8(e.revision)
}

// decide sends every write that follows from one view.
func (r *queueRules) decide(s *queueState, rs records, send func(queueWrite)) {
	e := rs[nameKey(queueName)]
	sharer, judged := r.sharerOf(rs, e), r.claimName(rs)
	one := func(verb queueVerb, by uint8, l queueLine, expect kvstore.Revision) {
		if r.verbs&verb != 0 {
			send(queueWrite{verb: verb, by: by, n: 1, lines: [2]queueLine{l}, expect: [2]uint8{uint8(expect)}})
		}
	}
	for i := range uint8(queueSessions) {
		if rs.alive(sessionID(i)) { // nothing is decided by one who knows that he has ended
			r.claims(rs, i, judged, one, send)
			r.owns(rs, i, e, one)
			r.shares(rs, i, e, judged, one, send)
		}
	}
	for _, o := range rs {
		with := sharer
		if o != e {
			with = nil
		}
		if o.value == nil || !r.orphan(rs, o, with) {
			continue
		}
		l := queueLine{kind: qUnnamed}
		switch v := o.value.(type) {
		case *Waiting:
			l = queueLine{kind: qWithdrawn, instance: v.Instance[0] - 'A'}
		case *Replica:
			l = queueLine{kind: qUnserves, instance: v.Instance[0] - 'A'}
		}
		one(vSweep, nobody, l, o.revision)
	}
}

type oneLine func(verb queueVerb, by uint8, l queueLine, expect kvstore.Revision)

// claims are the claims of the name and of a place in its queue.
func (r *queueRules) claims(rs records, i uint8, judged claim, one oneLine, send func(queueWrite)) {
	me, instance := sessionID(i), r.hosts[i]
	mine := queueLine{kind: qNamed, session: i, instance: instance}
	held, _ := recordOf(judged.held)
	switch {
	case held == nil && judged.heir == nil, held != nil && held.Session == me && held.Digest == "":
		l := mine
		if held != nil {
			l.mark = uint8(held.Token)
		}
		one(vClaim, i, l, judged.expect)
	default:
		if r.verbs&vReplace != 0 {
			robs := held != nil && !r.unleased
			send(queueWrite{verb: vReplace, by: i, n: 1, lines: [2]queueLine{mine}, expect: [2]uint8{uint8(judged.expect)}, lease: robs})
		}
	}
	place := rs[standbyKey(queueName, sessionID(instance))]
	waiting := rs.visible(place) && place.session == me
	if waiting {
		one(vWithdraw, i, queueLine{kind: qWithdrawn, instance: instance}, place.revision)
	} else if c := rs.claim(standbyKey(queueName, sessionID(instance))); c.held == nil && (held == nil || held.Session != me) {
		l := queueLine{kind: qWaits, session: i, instance: instance}
		if r.deadPlace && place != nil && !place.ended {
			l.mark = uint8(place.value.(*Waiting).Place)
		}
		one(vStandBy, i, l, c.expect)
	}
	if r.verbs&vSucceed != 0 && waiting && held == nil && judged.heir == place {
		w := queueWrite{verb: vSucceed, by: i, n: 2, lines: [2]queueLine{mine, {kind: qWithdrawn, instance: instance}}, expect: [2]uint8{uint8(judged.expect), revisionOf(place)}}
		if r.twoWrites || r.leavesLast {
			w.n, w.lines[1], w.expect[1] = 1, queueLine{}, 0
		}
		if r.leavesLast {
			w.verb = vClaim
		}
		send(w)
	}
}

// owns are what the session of the name's record does with it.
func (r *queueRules) owns(rs records, i uint8, e *entry, one oneLine) {
	rec, ok := recordOf(e)
	if !ok || e.session != sessionID(i) {
		return
	}
	one(vUpdate, i, queueLine{kind: qNamed, session: i, instance: rec.Instance[0] - 'A', shared: rec.Digest != "", mark: uint8(rec.Token)}, e.revision)
	if rec.Digest != "" {
		return
	}
	one(vRelease, i, queueLine{kind: qUnnamed}, e.revision)
	for j := range uint8(queueSessions) {
		if j == i || !rs.alive(sessionID(j)) {
			continue
		}
		l := queueLine{kind: qNamed, session: j, instance: r.hosts[j]}
		if r.keepsToken {
			l.mark = uint8(rec.Token)
		}
		one(vTransfer, i, l, e.revision)
	}
}

// shares are what a session does for a shared name.
func (r *queueRules) shares(rs records, i uint8, e *entry, judged claim, one oneLine, send func(queueWrite)) {
	me, instance := sessionID(i), r.hosts[i]
	held, _ := recordOf(judged.held)
	key := replicaKey(queueName, sessionID(instance))
	mine := queueLine{kind: qNamed, session: i, instance: instance, shared: true}
	replica := rs[key]
	serves := rs.visible(replica) && replica.session == me
	two := func(verb queueVerb, a queueLine, over kvstore.Revision, b queueLine, expect kvstore.Revision) {
		if r.verbs&verb != 0 {
			send(queueWrite{verb: verb, by: i, n: 2, lines: [2]queueLine{a, b}, expect: [2]uint8{uint8(over), uint8(expect)}})
		}
	}
	ours := held != nil && held.Digest == queueDigest
	stands := e != nil && !e.ended && e.session == me
	if c := rs.claim(key); !serves && c.held == nil {
		joins := queueLine{kind: qServes, session: i, instance: instance}
		switch rec, _ := recordOf(e); {
		case ours && r.alone:
			one(vShare, i, joins, c.expect)
		case ours: // the record as it is: whoever has not seen this replica has seen an older one
			two(vShare, joins, c.expect, queueLine{kind: qNamed, session: rec.Session[0] - 'A', instance: rec.Instance[0] - 'A', shared: true, mark: uint8(rec.Token)}, e.revision)
		case held == nil && judged.heir == nil:
			two(vShare, joins, c.expect, mine, judged.expect)
		}
	}
	if rec, _ := recordOf(e); serves && rec != nil && rec.Digest != "" && !stands {
		one(vUpdate, i, queueLine{kind: qNamed, session: rec.Session[0] - 'A', instance: rec.Instance[0] - 'A', shared: true, mark: uint8(rec.Token)}, e.revision)
	}
	leaves := queueLine{kind: qUnserves, instance: instance}
	switch {
	case serves && stands && ours:
		two(vUnshare, leaves, replica.revision, r.giveUp(rs, e, r.removes), e.revision)
	case serves:
		one(vUnshare, i, leaves, replica.revision)
	case stands && ours:
		one(vUnshare, i, r.giveUp(rs, e, r.litters), e.revision)
	}
	switch {
	case serves && ours && held.Session == me && !stands:
		l := mine
		if !r.newToken {
			l.mark = uint8(held.Token)
		}
		one(vTakeOver, i, l, judged.expect)
	case serves && held == nil && judged.heir == nil:
		one(vTakeOver, i, mine, judged.expect)
	}
}

// giveUp is how a session ends its record of a shared name: another replica gets it, or there is none.
func (r *queueRules) giveUp(rs records, e *entry, remove bool) queueLine {
	rec := e.value.(*Record)
	var to *Replica
	for i := range uint8(queueSessions) {
		o := rs[replicaKey(queueName, sessionID(i))]
		if rs.visible(o) && o.value.(*Replica).Instance != rec.Instance && joinedBefore(o, replicaEntry(rs, to), rec.Digest) {
			to = o.value.(*Replica)
		}
	}
	if to == nil || remove {
		return queueLine{kind: qUnnamed}
	}
	return queueLine{kind: qNamed, session: to.Session[0] - 'A', instance: to.Instance[0] - 'A', shared: true, mark: uint8(rec.Token)}
}

func replicaEntry(rs records, r *Replica) *entry {
	if r == nil {
		return nil
	}
	return rs[replicaKey(r.Name, r.Instance)]
}
