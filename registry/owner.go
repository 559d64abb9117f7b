package registry

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// This file is what a process does for all of its sessions together: it answers the roll call with one message, looks after validity, and removes
// what stands in the log in its name without being wanted.

// rollCalls remembers the last calls that this process answered: the reading of the clock before the answer was sent, and for whom.
type rollCalls struct{ answered [4]rollCall }

type rollCall struct {
	pulse    kvstore.Revision
	read     moment
	sessions map[string]struct{}
}

func (c *rollCalls) add(call rollCall) {
	copy(c.answered[1:], c.answered[:])
	c.answered[0] = call
}

func (c *rollCalls) find(pulse kvstore.Revision) (rollCall, bool) {
	for _, call := range c.answered {
		if pulse != 0 && call.pulse == pulse {
			return call, true
		}
	}
	return rollCall{}, false
}

// answerJitter spreads the answers of many processes over time.
const answerJitter = 300 * time.Millisecond

// own runs the owner's timers until the registry is closed.
func (r *Registry) own() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		case <-r.tick:
		}
		t := r.times()
		sessions := r.owned()
		for _, s := range sessions {
			s.look(t)
			s.tidy()
		}
		if p := r.sincePulse(); len(sessions) > 0 && p > 3*t.pulse && r.role == Never {
			r.askCheck(kvstore.CheckTail) // a candidate finds out by trying to put out a pulse
		}
		timer.Reset(t.pulse / 2)
	}
}

// owned lists the sessions of this process.
func (r *Registry) owned() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		out = append(out, s)
	}
	return out
}

func (r *Registry) sincePulse() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulsed.zero() {
		return 0
	}
	return elapsed(r.clock, r.pulsed)
}

// ownStep takes in what a step means for the sessions of this process.
func (r *Registry) ownStep(changes []change, newLog bool) {
	if newLog {
		for _, s := range r.owned() {
			s.end(ReasonNewLog)
		}
	}
	var beat *pulse
	for _, c := range changes {
		kind, rest := splitKey(c.key)
		switch {
		case c.key == keyPulse:
			if c.new != nil && !c.new.ended {
				beat, _ = c.new.value.(*pulse)
			}
		case kind == kindLease:
			r.ownLease(rest, c)
		case kind == kindName || kind == kindGroup || kind == kindStandby || kind == kindReplica || kind == kindProperty || kind == kindClaim:
			r.ownRecord(c)
		}
	}
	r.lookAfterNames(changes)
	if beat != nil {
		r.onPulse(beat)
	}
}

// ownLease takes in a change of a lease, if it is one of this process.
func (r *Registry) ownLease(session string, c change) {
	r.mu.Lock()
	s := r.sessions[session]
	_, opening := r.opening[session]
	r.mu.Unlock()
	lease, _ := leaseOf(c.new)
	switch {
	case s != nil && lease != nil:
		s.applied(lease)
	case s != nil:
		s.end(endReason(c))
	case lease != nil && lease.Process == r.process && !opening:
		r.sweepStrays()
	}
}

func leaseOf(e *entry) (*Lease, bool) {
	if e == nil || e.ended {
		return nil, false
	}
	lease, ok := e.value.(*Lease)
	return lease, ok
}

// ownRecord takes in a change of a name or a membership: something that a session of this process held may be gone, or a write that nobody
// waits for any more may have come after all.
func (r *Registry) ownRecord(c change) {
	r.mu.Lock()
	var before, now *Session
	if c.old != nil {
		before = r.sessions[c.old.session]
	}
	if c.new != nil {
		now = r.sessions[c.new.session]
	}
	r.mu.Unlock()
	if before != nil {
		before.moved(c)
	}
	if now != nil {
		now.appeared(c.new)
	}
}

// onPulse takes in a pulse: who was confirmed is valid from his answer on; who is listed answers at once and refreshes his lease; the others
// answer a regular pulse within the jitter.
func (r *Registry) onPulse(p *pulse) {
	now := read(r.clock)
	r.mu.Lock()
	r.pulsed = now
	call, reported := r.roll.find(p.Roll)
	r.mu.Unlock()
	if _, log, _ := r.view.at(); p.Log != "" && p.Log != log {
		r.askCheck(kvstore.CheckAll)
	}
	listed := false
	var proof moment
	owned := r.owned()
	for _, s := range owned {
		if p.lists(s.id) {
			listed = true
			if !p.All {
				s.refresh()
			}
			continue
		}
		if _, answered := call.sessions[s.id]; reported && answered {
			s.extend(call.read)
			proof = call.read
		}
	}
	r.mu.Lock()
	r.age(p, now, proof, len(owned) == 0)
	r.mu.Unlock()
	switch {
	case listed:
		r.answer(p)
	case !p.Extra:
		r.spawn(func() {
			if pause(r.ctx, rand.N(min(answerJitter, r.times().pulse/3))) {
				r.answer(p)
			}
		})
	}
}

// answer tells the keeper which sessions this process vouches for. The clock is read before: validity counts from here. Only the first answer to
// a pulse counts.
func (r *Registry) answer(p *pulse) {
	now := read(r.clock)
	sessions := make(map[string]struct{})
	for _, s := range r.owned() { // before the lock: a session that holds its own may be waiting for it
		if s.answers(p.revision) {
			sessions[s.id] = struct{}{}
		}
	}
	r.mu.Lock()
	if _, done := r.roll.find(p.revision); done || r.err != nil || !r.linkUp {
		r.mu.Unlock()
		return
	}
	call := rollCall{pulse: p.revision, read: now, sessions: sessions}
	if !p.Extra {
		r.roll.add(call)
	}
	r.mu.Unlock()
	if len(call.sessions) == 0 {
		return
	}
	a := answer{Pulse: p.revision, Process: r.process, Sessions: make([]string, 0, len(call.sessions))}
	for id := range call.sessions {
		a.Sessions = append(a.Sessions, id)
	}
	slices.Sort(a.Sessions)
	if r.peers != nil {
		a.Server, a.Client, a.Servers = r.peers.Link()
	}
	if p.Keeper == r.process {
		r.keeper.take(a)
		return
	}
	if r.peers == nil {
		return
	}
	if err := r.peers.Publish(r.subject("keeper."+p.Keeper), encode(a)); err != nil {
		r.log.Debug("answering the roll call", "pulse", p.revision, "error", err)
	}
}

// answers tells whether the session is one that may be vouched for at that pulse: its lease was in the log then.
func (s *Session) answers(pulse kvstore.Revision) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.created != 0 && s.created <= pulse && !s.ending
}

// onLink hears that this process is cut off, or no longer.
func (r *Registry) onLink(up bool, why string) {
	r.mu.Lock()
	changed, first := r.linkUp != up, !r.linkTold
	r.linkUp, r.linkTold = up, true
	r.mu.Unlock()
	if !changed && (!up || first) {
		return
	}
	r.log.Info("link", "up", up, "why", why)
	for _, s := range r.owned() {
		if up {
			if !changed { // a new connection, whose loss before was too short to be seen
				s.suspend()
			}
			s.resume()
		} else {
			s.suspend()
		}
	}
	if up {
		r.askCheck(kvstore.CheckTail)
	}
	r.keeper.onLink(up)
}

// sweepStrays removes leases that stand in this process's name and that it does not own: creations whose answer was lost, and sessions that it
// gave up.
func (r *Registry) sweepStrays() {
	r.spawn(func() {
		ctx, cancel := context.WithTimeout(r.ctx, leaseTTL)
		defer cancel()
		for id, lease := range r.view.living() {
			if lease.Process != r.process {
				continue
			}
			r.mu.Lock()
			_, owned := r.sessions[id]
			_, opening := r.opening[id]
			r.mu.Unlock()
			if owned || opening {
				continue
			}
			if err := r.endLease(ctx, id, ReasonClosed); err != nil {
				r.log.Debug("removing a stray lease", "session", id, "error", err)
				continue
			}
			r.sweepSession(ctx, id)
		}
	})
}

// sweepSession removes the records that a dead session left, each guarded by its revision. What fails is left to the keeper.
func (r *Registry) sweepSession(ctx context.Context, session string) {
	for batch := range slices.Chunk(r.view.leftBy(session), kvstore.MaxBatch) {
		r.remove(ctx, batch, ReasonClosed)
	}
}

// remove deletes records, all in one step if it can, else one by one. A record that has moved on stays.
func (r *Registry) remove(ctx context.Context, entries []*entry, reason Reason) {
	ops := make([]kvstore.Op, 0, len(entries))
	for _, e := range entries {
		if kind, _ := splitKey(e.key); kind != kindLease && !e.ended {
			ops = append(ops, r.ending(e, reason))
		}
	}
	if len(ops) > 1 {
		if _, err := r.store.Batch(ctx, ops); err == nil {
			return
		}
	}
	for _, op := range ops {
		if _, err := r.write(ctx, []kvstore.Op{op}); err != nil {
			r.log.Debug("removing a record", "key", op.Key, "error", err)
		}
	}
}

// unmarshal is for messages of peers, which may be anything.
func unmarshal[T any](data []byte) (T, bool) {
	var v T
	return v, json.Unmarshal(data, &v) == nil
}
