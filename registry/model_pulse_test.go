package registry

import (
	"fmt"
	"slices"
)

// The model of the pulse: one owner of one session, two keepers, a log. Nobody has to do anything at any moment, so that every delay, freeze
// and crash is in it; a message stays under way for ever or arrives at any time; a write under way commits at any time, with its writer
// waiting or no longer. Time is counted in ticks, on clocks of their own: the owner's may be slower. What the keeper and the owner do mirrors
// keeper.go, keeper_pulse.go, keeper_evidence.go, owner.go and session_fence.go; the names are theirs.

const (
	pulseMost     = 11 // entries of the log, with the larger bound and the end of who stays
	pulseFlight   = 4
	pulseAttempts = 4
	noAge         = 0xff
)

type pulseKind uint8

const (
	kindRefresh pulseKind = 1 + iota // the lease is created or written again
	kindEnd                          // its owner ends it
	kindBeat
	kindExpiry // the pulse's own TTL ends
)

// pulseLine is one step of the log. A verdict is in the line of the pulse that carries it.
type pulseLine struct {
	kind     pulseKind
	by       uint8 // 0 the owner, 1 and 2 the keepers
	attempt  uint8
	roll     uint8 // the pulse whose roll call it reports
	extra    bool
	missing  bool // it lists the session as missing
	suspects bool // it lists the session as suspect
	others   bool // it lists another session of the same process
	ends     bool // it carries the verdict
	evidence bool // which is by evidence
	listed   uint8
}

// pulseWrite is a write under way.
type pulseWrite struct {
	pulseLine
	overPulse uint8 // the revision of the pulse that it replaces
	overLease uint8 // and that of the lease that it writes or ends
}

// pulseOwner is the process that owns the session.
type pulseOwner struct {
	pos      uint8 // its view
	created  uint8
	revision uint8
	attempt  uint8
	valid    uint8 // ticks since the reading that validity counts from
	ending   bool
	ended    bool
	attempts [pulseAttempts + 1]uint8 // ticks since the reading before each
	calls    [pulseMost + 1]uint8     // and before the answer to each pulse
	pending  uint16                   // pulses whose answer waits for its jitter
}

// pulseKeeper is a process that may keep the scope.
type pulseKeeper struct {
	pos      uint8
	holding  bool
	refused  bool // it has to find out who overtook it
	last     uint8
	roll     uint8
	known    bool // its table has the session
	first    uint8
	lease    uint8
	heard    uint8
	answered uint8
	suspect  uint8 // 1: suspected, 2: listed
	listed   uint8
	guard    uint8
	answers  uint16 // answers under way to it
}

type pulseState struct {
	log     [pulseMost]pulseLine
	n       uint8
	owner   pulseOwner
	keepers [2]pulseKeeper
	flight  [pulseFlight]pulseWrite
	slow    uint8 // ticks that the owner's clock may still lose
	expires uint8 // times that the pulse's entry may still expire
	over    bool  // the lease has ended in the log
	since   uint8 // so many ticks ago
	wronged bool  // by evidence that its refresh had answered
}

// pulseRules are the code's, or a mutant's.
type pulseRules struct {
	strict   bool
	ttl      uint8 // in ticks
	margin   uint8
	slow     uint8 // ticks that the owner's clock may lose
	most     uint8 // entries of the log
	flight   uint8 // writes under way at once
	attempts uint8 // writes of the lease
	expires  uint8 // times that the pulse's entry expires
	others   bool  // other sessions of the process are suspected

	// Rules that mutants take out.
	fromReceipt     bool // validity counts from when the confirmation arrives
	unnamedAnswers  bool // an answer counts for whatever roll call is open
	anyAnswer       bool // an answer to a later pulse counts for the roll call before it
	oldClocks       bool // a new keeper goes on with the clocks that it had as a candidate
	bareVerdict     bool // a verdict is written beside the pulse
	unguarded       bool // a verdict does not look at the lease's revision
	newestGuard     bool // a verdict on evidence is guarded by the newest revision, not by that at the listing
	refreshAnswers  bool // a refresh counts as an answer to the roll call
	deaf            bool // the keeper builds a pulse before it has applied its last one
	ignoresListing  bool // an owner that is listed believes all the same
	anyAttempt      bool // any write of the lease confirms the newest attempt
	believesEnding  bool // an owner that has sent the end of its lease goes on until it sees it
	firstReports    bool // a keeper's first pulses report the roll call of another's
	firstGuard      bool // a verdict is guarded by the lease's first revision
	nobodyFollows   bool // who lost the pulse, or never had it, does not take it over
	vouchesForYoung bool // an owner answers calls that are older than its lease
}

func (r *pulseRules) validTicks() uint8 { return r.ttl - r.margin }

// start has the creation of the lease under way, its attempt read now.
func (r *pulseRules) start() (s pulseState) {
	s.owner.valid, s.slow, s.expires = noAge, r.slow, r.expires
	for i := range s.owner.attempts {
		s.owner.attempts[i] = noAge
	}
	for i := range s.owner.calls {
		s.owner.calls[i] = noAge
	}
	s.owner.attempt, s.owner.attempts[1] = 1, 0
	s.flight[0] = pulseWrite{pulseLine: pulseLine{kind: kindRefresh, attempt: 1}}
	return s
}

// newestPulse is the revision of the newest entry of the pulse among the first n.
func (s *pulseState) newestPulse(n uint8) uint8 {
	for i := n; i > 0; i-- {
		if k := s.log[i-1].kind; k == kindBeat || k == kindExpiry {
			return i
		}
	}
	return 0
}

// leaseRevision is that of the lease's newest entry, in the log.
func (s *pulseState) leaseRevision() uint8 {
	for i := s.n; i > 0; i-- {
		if l := s.log[i-1]; l.kind == kindRefresh || l.kind == kindEnd || l.ends {
			return i
		}
	}
	return 0
}

// valid is what the owner would say of itself.
func (r *pulseRules) valid(o *pulseOwner) bool {
	return o.valid < r.validTicks() && !o.ended && (!o.ending || r.believesEnding)
}

// accepts tells whether the log would take a write now.
func (r *pulseRules) accepts(s *pulseState, w *pulseWrite) bool {
	lease := s.leaseRevision()
	switch w.kind {
	case kindRefresh, kindEnd:
		return w.overLease == lease && !s.over
	}
	if w.ends && (s.over || w.overLease != lease && !r.unguarded) {
		return false
	}
	return w.overPulse == s.newestPulse(s.n) || w.ends && r.bareVerdict
}

// broken says which rule a state breaks.
func (r *pulseRules) broken(s *pulseState) string {
	switch {
	case s.wronged:
		return "a session is ended by evidence that its refresh had answered"
	case !s.over || !r.valid(&s.owner):
		return ""
	case r.strict:
		return "the lease has ended, and its owner still believes"
	case s.since >= r.ttl:
		return "the lease ended a TTL ago, and its owner still believes"
	}
	return ""
}

// settle brings a state into its simplest form, so that states that differ by nothing are one: what can have no effect any more is dropped.
func (r *pulseRules) settle(s *pulseState) {
	o, valid := &s.owner, r.validTicks()
	if s.over { // who may keep the scope is of no interest any more
		s.keepers, s.flight, s.slow, s.expires = [2]pulseKeeper{}, [pulseFlight]pulseWrite{}, 0, 0
	}
	if o.valid >= valid {
		o.valid = noAge
	}
	for i := range o.attempts {
		if o.attempts[i] >= valid {
			o.attempts[i] = noAge
		}
	}
	n := 0
	for _, w := range s.flight {
		if w.kind == 0 || !r.accepts(s, &w) {
			continue
		}
		s.flight[n] = w
		n++
	}
	clear(s.flight[n:])
	slices.SortFunc(s.flight[:n], pulseWrite.compare)
	for o.pos < s.n && s.log[o.pos].idle() { // what does nothing may as well be done at once
		o.pos++
	}
	for i := range s.keepers {
		for k := &s.keepers[i]; k.holding && k.pos < s.n && s.log[k.pos].kind == kindBeat && int(s.log[k.pos].by) == i+1; {
			k.pos++
		}
	}
	reports := uint16(0) // pulses whose roll call can still be reported to the owner
	for i := o.pos; i < s.n; i++ {
		reports |= 1 << s.log[i].roll
	}
	for _, w := range s.flight {
		reports |= 1 << w.roll
	}
	for i := range s.keepers {
		k := &s.keepers[i]
		if k.holding && !r.bareVerdict {
			// Overtaken, whether it knows that or not: it can write nothing any more.
			if newest := s.newestPulse(s.n); newest != k.last && !(s.log[newest-1].kind == kindBeat && int(s.log[newest-1].by) == i+1) {
				k.holding = false
			}
		}
		if !k.holding && !r.oldClocks {
			*k = pulseKeeper{} // it looks again when it takes over
		}
		reports |= 1 << k.roll
		if !r.unnamedAnswers {
			k.answers &^= 1<<k.roll - 1 // older ones are not taken
		}
		if k.suspect != 2 {
			k.listed, k.guard = 0, 0
		}
	}
	if r.firstReports {
		reports = 1<<16 - 1
	}
	if !r.unnamedAnswers && !r.anyAnswer {
		o.pending &= reports
	}
	for p := range o.calls {
		if reports&(1<<p) == 0 || o.calls[p] >= valid {
			o.calls[p] = noAge
		}
	}
	awaited := uint8(0) // writes of the lease that the owner may still see
	for i := o.pos; i < s.n; i++ {
		awaited |= 1 << s.log[i].attempt
	}
	for _, w := range s.flight {
		awaited |= 1 << w.attempt
	}
	for i := range o.attempts {
		if awaited&(1<<i) == 0 && !r.anyAttempt {
			o.attempts[i] = noAge
		}
	}
	for i := range o.pos { // read by the owner: only what it was is of interest, and whose
		l := s.log[i]
		s.log[i] = pulseLine{kind: l.kind, by: l.by, extra: l.extra, ends: l.ends}
	}
}

// idle tells whether an entry means nothing to an owner.
func (l pulseLine) idle() bool {
	return l.kind == kindExpiry || l.kind == kindBeat && l.extra && !l.suspects && !l.others && !l.ends
}

func (w pulseWrite) compare(o pulseWrite) int {
	if a, b := w.packed(), o.packed(); a != b {
		if a < b {
			return -1
		}
		return 1
	}
	return 0
}

func (w pulseWrite) packed() (p uint64) {
	for _, v := range []uint8{uint8(w.kind), w.by, w.attempt, w.roll, w.listed, w.overPulse, w.overLease} {
		p = p<<4 | uint64(v)
	}
	for _, v := range []bool{w.extra, w.missing, w.suspects, w.others, w.ends, w.evidence} {
		p <<= 1
		if v {
			p |= 1
		}
	}
	return p
}

func (l pulseLine) String() string {
	switch l.kind {
	case kindRefresh:
		return fmt.Sprintf("lease#%d", l.attempt)
	case kindEnd:
		return "end"
	case kindExpiry:
		return "expiry"
	}
	out := fmt.Sprintf("K%d/%d", l.by, l.roll)
	for _, f := range []struct {
		on   bool
		what string
	}{{l.extra, "x"}, {l.missing, "m"}, {l.suspects, "s"}, {l.others, "o"}, {l.ends, "!"}} {
		if f.on {
			out += f.what
		}
	}
	return out
}

func (r *pulseRules) show(s pulseState) string {
	out := "log:"
	for _, l := range s.log[:s.n] {
		out += " " + l.String()
	}
	out += fmt.Sprintf("; owner@%d valid since %d", s.owner.pos, int8(s.owner.valid))
	for i, k := range s.keepers {
		if k.holding {
			out += fmt.Sprintf("; K%d@%d roll %d heard %d answered %d suspect %d", i+1, k.pos, k.roll, k.heard, k.answered, k.suspect)
		}
	}
	for _, w := range s.flight {
		if w.kind != 0 {
			out += fmt.Sprintf("; under way: (%v over %d,%d)", w.pulseLine, w.overPulse, w.overLease)
		}
	}
	return out
}
