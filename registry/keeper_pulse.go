package registry

import (
	"errors"
	"slices"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// keep does what is due for who holds the pulse: the next pulse, verdicts, the sweep, the comparisons.
func (k *keeper) keep(now time.Duration) time.Duration {
	if k.applied < k.last { // the next pulse is built only when we have taken in our last one, with every lease before it
		if now > k.nextAt {
			k.r.askCheck(kvstore.CheckTail)
		}
		return staleAfter
	}
	if now >= k.tailAt {
		k.tailAt = now + tailInterval
		k.r.askCheck(kvstore.CheckTail)
	}
	if now >= k.wholeAt {
		k.wholeAt = now + wholeInterval
		k.r.askCheck(kvstore.CheckAll)
	}
	verdicts, due := k.verdicts(now)
	switch {
	case now >= k.nextAt:
		k.beat(now, verdicts)
	case (len(verdicts) > 0 || k.extra) && now >= k.retryAt:
		k.beatExtra(now, verdicts)
	case now >= k.sweepAt:
		k.sweepAt = now + sweepInterval
		k.sweep()
	default:
		return max(min(k.nextAt, due, k.sweepAt)-now, time.Millisecond)
	}
	return 0
}

// beat puts out a regular pulse: it reports the roll call of the one before, calls the roll anew, and carries the verdicts that are due.
func (k *keeper) beat(now time.Duration, verdicts []verdict) {
	t := k.r.times()
	p := k.pulse(false, k.roll)
	missed, missing := k.missed()
	if k.roll != 0 {
		p.Answered = len(k.sessions) - len(missing)
	}
	if p.Missing = missing; len(missing) > maxListed {
		p.All, p.Missing = true, nil
	}
	k.suspects(p)
	revision, ok := k.put(p, verdicts)
	if !ok {
		k.retryAt = k.r.clock.Boot() + t.pulse/4
		k.nextAt = k.retryAt
		return
	}
	for _, st := range missed {
		st.unanswered++
		k.probe(st)
	}
	k.listed(p, revision)
	k.roll = revision
	if k.nextAt += t.pulse; k.nextAt < now+t.pulse/2 { // late: do not hurry after the lost time
		k.nextAt = now + t.pulse
	}
}

// missed lists who did not answer the roll call that is open. Who is too young was not called.
func (k *keeper) missed() (missed []*standing, sessions []string) {
	for id, st := range k.sessions {
		if k.roll != 0 && st.first <= k.roll && st.answered != k.roll {
			missed, sessions = append(missed, st), append(sessions, id)
		}
	}
	slices.Sort(sessions)
	return missed, sessions
}

// beatExtra puts out a pulse between two regular ones: to list suspects, or to carry verdicts whose grace is over.
func (k *keeper) beatExtra(now time.Duration, verdicts []verdict) {
	p := k.pulse(true, 0)
	k.suspects(p)
	k.extra = false
	if revision, ok := k.put(p, verdicts); ok {
		k.listed(p, revision)
		return
	}
	k.retryAt = k.r.clock.Boot() + k.r.times().pulse/4 // a log that refuses at once must not be asked without a pause
	k.nextAt = max(k.nextAt, k.retryAt)
}

// put writes a pulse with its verdicts. A refused batch is followed at once by a bare pulse, which tells whether the pulse is still ours; its
// verdicts are then tried one by one.
func (k *keeper) put(p *pulse, verdicts []verdict) (kvstore.Revision, bool) {
	defer k.stretch(k.r.clock.Boot())
	revision, err := k.write(p, k.last, verdicts)
	if err != nil && len(verdicts) > 0 && errors.Is(err, kvstore.ErrConflict) {
		p.Ended = nil
		if revision, err = k.write(p, k.last, nil); err == nil {
			k.last = revision
			for _, v := range verdicts {
				one := k.pulse(true, 0)
				if now, e := k.write(one, k.last, []verdict{v}); e == nil {
					k.last = now
					k.ended(v)
				} else if errors.Is(e, kvstore.ErrConflict) {
					k.acquit(v.session) // its lease has moved on, or the pulse has: the next one tells
				} else {
					k.lostCount(e)
					break
				}
			}
			return revision, true
		}
	}
	switch {
	case err == nil:
		k.last = revision
		for _, v := range verdicts {
			k.ended(v)
		}
		return revision, true
	case errors.Is(err, kvstore.ErrConflict):
		k.overtaken(err)
	default:
		k.lostCount(err)
	}
	return 0, false
}

// stretch takes out of every grace the time that a pulse has taken, from began on, if it was long: who is suspected could not write either.
func (k *keeper) stretch(began time.Duration) {
	took := k.r.clock.Boot() - began
	if took < staleAfter {
		return
	}
	for _, st := range k.sessions {
		if st.suspicion != nil && st.suspicion.listed != 0 {
			st.suspicion.acked += took
		}
	}
}

// overtaken finds out who wrote the pulse that is there in the place of our last one: ourselves, by a write whose answer was lost, or another
// keeper.
func (k *keeper) overtaken(err error) {
	conflict, _ := errors.AsType[*kvstore.ConflictError](err)
	if conflict != nil && conflict.Actual > k.r.Revision() && k.r.WaitFor(k.r.ctx, conflict.Actual) != nil {
		return
	}
	p, revision := k.r.view.pulse()
	switch {
	case p != nil && p.Keeper == k.r.process && revision > k.last:
		k.last, k.roll = revision, 0
		k.restart()
	case p != nil && p.Keeper != k.r.process:
		k.resign("another process keeps it")
	case p != nil && (conflict == nil || conflict.Actual == 0):
		k.lostCount(err) // another write to the pulse was on its way, perhaps an earlier one of ours
	default:
		k.r.askCheck(kvstore.CheckAll)
		k.resign("the pulse was refused")
	}
}

// lostCount takes in that a pulse was not acknowledged. Grace runs only while pulses are.
func (k *keeper) lostCount(err error) {
	k.r.log.Warn("the pulse was not acknowledged", "scope", k.r.scope, "error", err)
	k.restart()
	k.r.askCheck(kvstore.CheckTail)
}

// restart starts every grace anew: it counts from the next listing pulse.
func (k *keeper) restart() {
	for _, st := range k.sessions {
		if st.suspicion != nil {
			st.suspicion.listed = 0
			k.extra = true
		}
	}
}

// onStep takes in a step of the log.
func (k *keeper) onStep(changes []change, newLog bool) {
	if k.r.role == Never {
		return
	}
	var beat *pulse
	var leases []change
	gone := false
	for _, c := range changes {
		if c.key == keyPulse {
			gone = c.new == nil || c.new.ended
			if !gone {
				beat, _ = c.new.value.(*pulse)
			}
		} else if kind, _ := splitKey(c.key); kind == kindLease {
			leases = append(leases, c)
		}
	}
	revision := k.r.Revision()
	if beat == nil && len(leases) == 0 && !newLog && !gone {
		k.reach(revision, nil)
		return
	}
	now := k.r.clock.Boot()
	k.reach(revision, func() {
		if newLog && k.holding {
			k.resign("the log was made anew")
		}
		for _, c := range leases {
			k.onLease(c, now)
		}
		if beat != nil {
			k.seenAt = now
			if k.holding && beat.Keeper != k.r.process && beat.revision > k.last {
				k.resign("another process keeps it")
			}
		}
		if gone && k.holding && k.r.Revision() >= k.last {
			k.resign("the pulse was removed")
		}
	})
}

// onLease takes in a change of a lease. Seeing a refresh restarts the clock of silence and refuses any verdict on the older revision; it is
// no answer to a roll call.
func (k *keeper) onLease(c change, now time.Duration) {
	_, session := splitKey(c.key)
	lease, _ := leaseOf(c.new)
	if lease == nil {
		delete(k.sessions, session)
		return
	}
	st := k.sessions[session]
	if st == nil {
		st = &standing{}
		if lease.Attempt == 1 { // else it is older than this record, and may have been there at any roll call
			st.first = lease.Revision
		}
		k.sessions[session] = st
	}
	st.lease, st.heard = lease, max(st.heard, now) // this may have waited while the pulse was taken over
	if lease.Server != "" {
		st.server, st.client, st.servers = lease.Server, lease.Client, lease.Servers
	}
	if st.suspicion != nil && st.suspicion.listed != 0 && lease.Revision != st.suspicion.revision {
		st.clear()
	}
	k.recall(st)
}

// take takes in an answer to the roll call, as it arrived.
func (k *keeper) take(a answer) {
	now := k.r.clock.Boot()
	k.do(func() {
		for _, id := range a.Sessions {
			st := k.sessions[id]
			if st == nil || st.lease.Process != a.Process {
				continue
			}
			if a.Server != "" {
				st.server, st.client, st.servers = a.Server, a.Client, a.Servers
			}
			if !k.holding || a.Pulse > k.last || a.Pulse < k.roll {
				continue
			}
			st.heard, st.unanswered = max(st.heard, now), 0
			if a.Pulse == k.roll { // an answer to a later, extra pulse is none to the roll call, which may be answered later still, unheard
				st.answered = a.Pulse
			}
			if s := st.suspicion; s != nil && s.listed != 0 && a.Pulse >= s.listed {
				st.clear()
			}
		}
	})
}

// onAnswer is take for what a peer sent.
func (k *keeper) onAnswer(data []byte) []byte {
	if a, ok := unmarshal[answer](data); ok {
		k.take(a)
	}
	return nil
}

// onLink hears that this process is cut off, or no longer.
func (k *keeper) onLink(up bool) {
	k.do(func() {
		k.linkUp = up
		if up {
			k.seenAt = k.r.clock.Boot() // it could not hear a pulse meanwhile
		}
	})
}

// sweep removes records of sessions that are dead, if there are any. Each is guarded by its revision, so that a late sweep can never remove a
// successor.
func (k *keeper) sweep() bool {
	orphans := k.r.view.orphans(sweepBatch)
	if len(orphans) == 0 {
		return false
	}
	k.r.log.Debug("sweeping", "records", len(orphans))
	return k.r.spawn(func() { k.r.remove(k.r.ctx, orphans, ReasonRemoved) })
}
