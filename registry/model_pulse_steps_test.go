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
	if !s.over && r.stays(s) {
		emit(step{what: "its owner is dead from here on"}, s, "a dead session stays")
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

func (s *pulseState) kept() bool {
	for _, l := range s.log[:s.n] {
		if l.by == 1 {
			return true
		}
	}
	return false
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
