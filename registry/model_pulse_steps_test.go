package registry

// next is every step of the model of the pulse.
func (r *pulseRules) next(s pulseState, emit func(step, pulseState, string)) {
	done := func(what string, a, b int, to *pulseState) {
		bad := r.broken(to)
		r.settle(to)
		emit(step{what, a, b}, *to, bad)
	}
	if s.owner.ended || s.owner.ending && !r.believesEnding {
		return // never valid again
	}
	r.time(&s, done)
	r.ownerSteps(&s, done)
	if s.over {
		return // nobody else matters
	}
	for i := range s.keepers {
		r.keeperSteps(&s, i, done)
	}
	r.logSteps(&s, done)
}

type doneFunc func(what string, a, b int, to *pulseState)

// time passes on every clock, or on all but the owner's.
func (r *pulseRules) time(s *pulseState, done doneFunc) {
	for lost := range 2 {
		if lost == 1 && s.slow == 0 {
			break
		}
		to := *s
		for i := range to.keepers {
			to.keepers[i].heard = min(to.keepers[i].heard+1, r.ttl)
		}
		if to.over {
			to.since = min(to.since+1, r.ttl)
		}
		if lost == 1 {
			to.slow--
			done("tick, not the owner's", 0, 0, &to)
			continue
		}
		o := &to.owner
		age(&o.valid)
		for i := range o.attempts {
			age(&o.attempts[i])
		}
		for i := range o.calls {
			age(&o.calls[i])
		}
		done("tick", 0, 0, &to)
	}
}

func age(a *uint8) {
	if *a != noAge {
		*a++
	}
}

func (r *pulseRules) ownerSteps(s *pulseState, done doneFunc) {
	if o := &s.owner; o.pos < s.n && !o.ended {
		to := *s
		r.ownerApply(&to)
		done("owner applies", int(to.owner.pos), 0, &to)
	}
	for p := uint8(1); p <= s.n; p++ {
		if s.owner.pending&(1<<p) != 0 {
			to := *s
			to.owner.pending &^= 1 << p
			r.answer(&to, p)
			done("owner answers", int(p), 0, &to)
		}
	}
	o := &s.owner
	if s.over || o.created == 0 || o.ended || s.flight[r.flight-1].kind != 0 {
		return
	}
	if !o.ending && o.attempt < r.attempts {
		to := *s
		to.owner.attempt++
		to.owner.attempts[to.owner.attempt] = 0
		to.flight[r.flight-1] = pulseWrite{pulseLine: pulseLine{kind: kindRefresh, attempt: to.owner.attempt}, overLease: o.revision}
		done("owner refreshes", int(to.owner.attempt), 0, &to)
	}
	to := *s
	to.owner.ending = true
	to.flight[r.flight-1] = pulseWrite{pulseLine: pulseLine{kind: kindEnd}, overLease: o.revision}
	done("owner ends", 0, 0, &to)
}

// ownerApply is ownStep: applied, onPulse, end.
func (r *pulseRules) ownerApply(s *pulseState) {
	o := &s.owner
	l := s.log[o.pos]
	o.pos++
	switch {
	case l.kind == kindEnd || l.ends:
		o.ended = true
	case l.kind == kindRefresh:
		if o.created == 0 {
			o.created = o.pos
		}
		o.revision = o.pos
		read := o.attempts[l.attempt]
		if r.anyAttempt {
			read = o.attempts[o.attempt]
		}
		for i := range l.attempt + 1 {
			o.attempts[i] = noAge
		}
		r.extend(o, read)
	case l.kind == kindBeat:
		if listed := l.missing || l.suspects; !listed || r.ignoresListing {
			r.extend(o, o.calls[l.roll])
		}
		switch {
		case l.missing || l.suspects || l.others:
			r.answer(s, o.pos)
		case !l.extra:
			o.pending |= 1 << o.pos
		}
	}
}

func (r *pulseRules) extend(o *pulseOwner, read uint8) {
	if read == noAge || o.ending && !r.believesEnding {
		return
	}
	if r.fromReceipt {
		read = 0
	}
	o.valid = min(o.valid, read)
}

// answer sends the answer to pulse p. The first one counts.
func (r *pulseRules) answer(s *pulseState, p uint8) {
	o, l := &s.owner, s.log[p-1]
	if o.created == 0 || o.created > p && !r.vouchesForYoung || o.ending || o.ended {
		return
	}
	if !l.extra {
		o.calls[p] = 0
	}
	if !s.over && l.by > 0 {
		s.keepers[l.by-1].answers |= 1 << p
	}
}

func (r *pulseRules) keeperSteps(s *pulseState, i int, done doneFunc) {
	k := &s.keepers[i]
	if k.pos < s.n && (k.holding || r.oldClocks) {
		to := *s
		r.keeperApply(&to, i)
		done("keeper applies", i+1, int(to.keepers[i].pos), &to)
	}
	for p := uint8(1); p <= s.n; p++ {
		if k.answers&(1<<p) != 0 {
			to := *s
			to.keepers[i].answers &^= 1 << p
			r.take(&to.keepers[i], p)
			done("keeper hears", i+1, int(p), &to)
		}
	}
	// A keeper that waits for its write does nothing else, so that a write that is answered late is the same as one that begins late: it
	// commits and is answered at once, or it is refused at once, or it stays under way and its keeper waits no longer.
	send := func(s *pulseState, what string, w pulseWrite) {
		w.kind, w.by = kindBeat, uint8(i+1)
		if r.accepts(s, &w) {
			r.commit(s, &w, true, what, done)
		} else {
			to := *s
			r.refused(&to, &w)
			done("refused: "+what, i+1, int(w.roll), &to)
		}
		if s.flight[r.flight-1].kind == 0 && r.accepts(s, &w) {
			to := *s
			to.keepers[i].suspect = min(to.keepers[i].suspect, 1) // lostCount
			to.flight[r.flight-1] = w
			done("lost: "+what, i+1, int(w.roll), &to)
		}
	}
	if !k.holding {
		if r.oldClocks {
			r.takeOver(s, i, send)
			return
		}
		// A candidate only looks: what it has seen when it takes over is all that matters. It has seen the pulse that it takes over.
		for at := s.newestPulse(s.n); at <= s.n; at++ {
			from := *s
			for from.keepers[i].pos < at {
				r.keeperApply(&from, i)
			}
			r.takeOver(&from, i, send)
		}
		return
	}
	if k.refused {
		if over := s.newestPulse(k.pos); over > k.last {
			to := *s
			t := &to.keepers[i]
			t.refused = false
			if l := s.log[over-1]; l.kind == kindBeat && int(l.by) == i+1 {
				t.last, t.roll = over, 0
				t.suspect = min(t.suspect, 1)
			} else {
				t.holding = false
			}
			done("keeper is overtaken", i+1, int(over), &to)
		}
		return
	}
	if !r.strict && k.suspect == 0 && k.known {
		to := *s
		to.keepers[i].suspect = 1
		done("keeper suspects", i+1, 0, &to)
	}
	if k.pos < k.last && !r.deaf {
		return
	}
	beat := pulseWrite{overPulse: k.last}
	beat.roll = k.roll
	beat.missing = k.roll != 0 && k.known && k.first <= k.roll && k.answered < k.roll
	beat.suspects = k.suspect == 1
	extra := pulseWrite{overPulse: k.last}
	extra.extra, extra.suspects = true, k.suspect == 1
	send(s, "keeper beats", beat)
	if extra.suspects {
		send(s, "keeper lists", extra)
	}
	if extra.others = r.others; r.others {
		send(s, "keeper lists another", extra)
	}
	if !k.known {
		return
	}
	verdict := func(w pulseWrite) { // what else stands in its pulse is of no interest
		w.others, w.suspects = false, false
		if k.heard >= r.ttl {
			w.ends, w.overLease = true, k.lease
			send(s, "keeper's verdict", w)
		}
		if k.suspect == 2 {
			w.ends, w.evidence, w.listed, w.overLease = true, true, k.listed, k.guard
			if r.newestGuard {
				w.overLease = k.lease
			}
			send(s, "verdict on evidence", w)
		}
	}
	verdict(extra)
}

// takeOver writes a first pulse, over the one that the view shows.
func (r *pulseRules) takeOver(s *pulseState, i int, send func(*pulseState, string, pulseWrite)) {
	w := pulseWrite{pulseLine: pulseLine{extra: true}, overPulse: s.newestPulse(s.keepers[i].pos)}
	if over := w.overPulse; r.firstReports && over != 0 {
		w.extra, w.roll = false, over
	}
	send(s, "keeper takes over", w)
}

// keeperApply is onStep.
func (r *pulseRules) keeperApply(s *pulseState, i int) {
	k := &s.keepers[i]
	l := s.log[k.pos]
	k.pos++
	switch l.kind {
	case kindRefresh: // onLease
		if !k.known {
			k.known, k.first = true, k.pos
		}
		k.lease, k.heard = k.pos, 0
		if k.suspect == 2 && k.lease != k.guard && !r.newestGuard {
			k.suspect = 0
		}
		if r.refreshAnswers {
			k.answered = max(k.answered, k.roll)
		}
	case kindBeat:
		if k.holding && int(l.by) != i+1 && !r.keepsRoll {
			k.holding, k.refused = false, false
		}
	case kindExpiry:
		if k.holding && k.pos >= k.last {
			k.holding, k.refused = false, false
		}
	}
}

// take takes an answer in.
func (r *pulseRules) take(k *pulseKeeper, p uint8) {
	if !k.known || !k.holding || p > k.last || p < k.roll && !r.unnamedAnswers {
		return
	}
	k.heard = 0
	switch {
	case r.unnamedAnswers:
		k.answered = k.roll
	case r.anyAnswer:
		k.answered = max(k.answered, p)
	case p == k.roll:
		k.answered = p
	}
	if k.suspect == 2 && p >= k.listed {
		k.suspect = 0
	}
}

// logSteps: a write that was under way commits; the pulse's entry expires.
func (r *pulseRules) logSteps(s *pulseState, done doneFunc) {
	for i, w := range s.flight {
		if w.kind != 0 && r.accepts(s, &w) {
			from := *s
			from.flight[i] = pulseWrite{}
			r.commit(&from, &w, false, "late commit", done)
		}
	}
	if newest := s.newestPulse(s.n); newest != 0 && s.log[newest-1].kind == kindBeat && s.expires > 0 && s.n < r.most {
		to := *s
		to.log[to.n] = pulseLine{kind: kindExpiry}
		to.n++
		to.expires--
		done("the pulse expires", 0, 0, &to)
	}
}

// commit appends a write that the log accepts; its writer learns it, or not.
func (r *pulseRules) commit(s *pulseState, w *pulseWrite, heard bool, what string, done doneFunc) {
	if s.n == r.most || w.by == 2 && !s.kept() {
		return // keepers differ by nothing but their ids: the first to keep is the first
	}
	to := *s
	to.log[to.n] = w.pulseLine
	to.n++
	to.over = to.over || w.ends || w.kind == kindEnd
	to.wronged = r.wronged(s, w)
	if heard {
		r.acknowledged(&to.keepers[w.by-1], w, to.n)
	}
	done(what, int(w.by), int(to.n), &to)
}

// refused is what becomes of a keeper whose write was refused.
func (r *pulseRules) refused(s *pulseState, w *pulseWrite) {
	switch k := &s.keepers[w.by-1]; {
	case !k.holding: // takeOver failed
	case w.overPulse == s.newestPulse(s.n):
		k.suspect, k.heard = 0, 0 // acquit
	default:
		k.refused = !r.keepsRoll
	}
}

func (s *pulseState) kept() bool {
	for _, l := range s.log[:s.n] {
		if l.by == 1 {
			return true
		}
	}
	return false
}

// acknowledged is what takeOver, beat and beatExtra do when their write was accepted.
func (r *pulseRules) acknowledged(k *pulseKeeper, w *pulseWrite, revision uint8) {
	k.last = revision
	if !k.holding {
		k.holding, k.roll, k.answered, k.suspect = true, 0, 0, 0
		if !r.oldClocks {
			k.heard = 0
		}
		if r.firstReports {
			k.roll = revision
		}
		return
	}
	if k.suspect == 1 && w.suspects {
		k.suspect, k.listed, k.guard = 2, revision, k.lease
	}
	if !w.extra {
		k.roll = revision
	}
}

// wronged tells whether a verdict on evidence ends somebody who has refreshed since he was listed.
func (r *pulseRules) wronged(s *pulseState, w *pulseWrite) bool {
	if !w.ends || !w.evidence {
		return false
	}
	for _, l := range s.log[w.listed:s.n] {
		if l.kind == kindRefresh {
			return true
		}
	}
	return false
}
