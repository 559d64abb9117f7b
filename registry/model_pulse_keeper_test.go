package registry

// The keeper's part in the model of the pulse.

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
		if s.newestPulse(k.pos) > k.last {
			to := *s
			r.overtaken(&to, i)
			done("keeper is overtaken", i+1, 0, &to)
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
			w.ends, w.overLease = true, r.guard(k)
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

// overtaken finds out whose pulse stands in the place of its own.
func (r *pulseRules) overtaken(s *pulseState, i int) {
	k := &s.keepers[i]
	over := s.newestPulse(k.pos)
	k.refused = false
	if l := s.log[over-1]; l.kind == kindBeat && int(l.by) == i+1 {
		k.last, k.roll, k.suspect = over, 0, min(k.suspect, 1)
	} else {
		k.holding = false
	}
}

// guard is the revision that a verdict by silence ends.
func (r *pulseRules) guard(k *pulseKeeper) uint8 {
	if r.firstGuard {
		return k.first
	}
	return k.lease
}

// stays tells whether a session stays whose owner is dead from here on, while the keepers do what they have to and the log accepts what they
// write: what is under way is lost.
func (r *pulseRules) stays(s pulseState) bool {
	s.flight = [pulseFlight]pulseWrite{}
	for range r.ttl + 3 {
		holder := -1
		for i := range s.keepers {
			k := &s.keepers[i]
			k.heard = min(k.heard+1, r.ttl)
			for k.holding && k.pos < s.n {
				r.keeperApply(&s, i)
			}
			if k.holding && s.newestPulse(s.n) != k.last {
				r.overtaken(&s, i)
			}
			if k.holding {
				holder = i
			}
		}
		if s.leaseRevision() == 0 {
			return false
		}
		if holder < 0 {
			if r.nobodyFollows && s.kept() {
				return true
			}
			k := &s.keepers[0]
			for *k = (pulseKeeper{}); k.pos < s.n; {
				r.keeperApply(&s, 0)
			}
			w := pulseWrite{pulseLine: pulseLine{kind: kindBeat, by: 1, extra: true}}
			s.log[s.n] = w.pulseLine
			s.n++
			r.acknowledged(k, &w, s.n)
			continue
		}
		k := &s.keepers[holder]
		if w := (pulseWrite{pulseLine: pulseLine{kind: kindBeat, ends: true}, overPulse: k.last, overLease: r.guard(k)}); k.known && k.heard >= r.ttl {
			if r.accepts(&s, &w) {
				return false
			}
			k.heard = 0
		}
	}
	return true
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
		if k.holding && int(l.by) != i+1 && k.pos > k.last {
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

// refused is what becomes of a keeper whose write was refused.
func (r *pulseRules) refused(s *pulseState, w *pulseWrite) {
	switch k := &s.keepers[w.by-1]; {
	case !k.holding: // takeOver failed
	case w.overPulse == s.newestPulse(s.n):
		k.suspect, k.heard = 0, 0 // acquit
	default:
		k.refused = true
	}
}
