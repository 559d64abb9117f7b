package registry

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// keeper is a process's part in keeping the scope. One process at a time holds the pulse, by CAS on the pulse before it; the others watch it and
// take it over when it stops. Everything here runs on one goroutine, which takes its work from a queue, so that nobody who tells it something
// ever waits. A wrong keeper can raise a question and end nobody who reaches the quorum: each verdict goes through the log in the
// batch of the pulse that carries it.
type keeper struct {
	r *Registry

	mu      sync.Mutex
	queue   []func()
	reached kvstore.Revision // of the view, with the queue done
	ready   chan struct{}

	// What follows belongs to run's goroutine.
	linkUp   bool
	applied  kvstore.Revision // what this goroutine itself has taken in; the view may be ahead of it
	holding  bool
	last     kvstore.Revision // our newest pulse that was acknowledged
	roll     kvstore.Revision // our newest regular pulse: its roll call is open, and the next one reports it; 0: none
	seenAt   time.Duration    // when the newest pulse of anybody was applied, on boot time
	tryAt    time.Duration    // when to try to take the pulse over; 0: not
	nextAt   time.Duration    // when the next regular pulse is due
	retryAt  time.Duration    // not before this an extra pulse, after one that was not acknowledged
	sweepAt  time.Duration    // when to sweep orphans next
	tailAt   time.Duration    // when to compare the view with the log next
	wholeAt  time.Duration    // when to take a whole snapshot next
	extra    bool             // an extra pulse is wanted now
	sessions map[string]*standing
	evidence evidence
	brake    brake
	probing  map[string]struct{}
}

// standing is what the keeper knows of one session. Its clocks are the keeper's own.
type standing struct {
	lease      *Lease
	first      kvstore.Revision // of the lease: it existed at every pulse after; 0 where this process first saw it refreshed
	heard      time.Duration    // when it last answered, refreshed, or began to be watched
	unanswered int              // roll calls in a row without an answer
	answered   kvstore.Revision // the newest pulse that it answered
	server     string           // where it was last heard from
	client     string
	servers    int
	suspicion  *suspicion
	cleared    time.Duration // when the last suspicion that it answered arose: what was heard until then speaks against it no more
}

// clear drops what stands against the session, as it has shown since that it lives.
func (st *standing) clear() {
	if st.suspicion != nil {
		st.suspicion, st.cleared = nil, st.suspicion.since
	}
}

func newKeeper(r *Registry) *keeper {
	k := &keeper{r: r, ready: make(chan struct{}, 1), linkUp: true, sessions: map[string]*standing{}, probing: map[string]struct{}{}}
	k.evidence.init()
	return k
}

const (
	missedPulses  = 2                      // intervals without a pulse, before others take it
	secondPulse   = 300 * time.Millisecond // after a new keeper's first
	nodeWait      = 100 * time.Millisecond // the longest random wait of a node before it takes the pulse
	processWait   = 400 * time.Millisecond // how much later others do
	silentPulses  = 4                      // roll calls that a session has to miss in a row, at the least
	tailInterval  = 5 * time.Second
	wholeInterval = 5 * time.Minute
	sweepInterval = 5 * time.Second
	sweepBatch    = 200
)

// do puts work into the queue.
func (k *keeper) do(fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doLocked(fn)
}

func (k *keeper) doLocked(fn func()) {
	k.queue = append(k.queue, fn)
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

// reach tells how far the view is, together with what that means for the keeper: nil is nothing, and wakes nobody.
func (k *keeper) reach(revision kvstore.Revision, fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reached = revision
	if fn != nil {
		k.doLocked(fn)
	}
}

// drain takes all work out of the queue.
func (k *keeper) drain() []func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	work := k.queue
	k.queue, k.applied = nil, k.reached
	return work
}

// run is the keeper's goroutine. It ends with the registry.
func (k *keeper) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for k.r.ctx.Err() == nil {
		work := k.drain()
		for _, fn := range work {
			fn()
		}
		wait := k.turn()
		if len(work) > 0 && wait == 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-k.r.ctx.Done():
		case <-k.ready:
		case <-timer.C:
		}
	}
}

// turn does what is due and says how long nothing else is.
func (k *keeper) turn() time.Duration {
	now := k.r.clock.Boot()
	if _, _, synced := k.r.view.at(); !synced {
		return time.Second
	}
	if !k.holding {
		return k.await(now)
	}
	if len(k.sessions) == 0 { // a scope without sessions has no pulse; its keeper puts the next one out when a session opens
		if now >= k.sweepAt {
			k.sweepAt = now + sweepInterval
			if !k.sweep() {
				return time.Minute
			}
		}
		return k.sweepAt - now
	}
	return k.keep(now)
}

// await watches somebody else's pulse and takes it over when it stops.
func (k *keeper) await(now time.Duration) time.Duration {
	why, due := k.vacant(now)
	if why == "" {
		k.tryAt = 0
		return max(due-now, time.Millisecond)
	}
	if k.tryAt == 0 {
		k.tryAt = now + rand.N(nodeWait)
		if k.r.role != Node {
			k.tryAt = now + nodeWait + rand.N(processWait)
		}
	}
	if now < k.tryAt {
		return k.tryAt - now
	}
	k.tryAt = 0
	k.takeOver(why)
	if k.holding {
		return 0
	}
	return 50*time.Millisecond + rand.N(100*time.Millisecond)
}

// vacant says why the pulse may be taken over now; where it may not, when that may change.
func (k *keeper) vacant(now time.Duration) (why string, due time.Duration) {
	t := k.r.times()
	if len(k.sessions) == 0 || !k.linkUp {
		return "", now + time.Minute
	}
	due = k.seenAt + missedPulses*t.pulse
	switch p, _ := k.r.view.pulse(); {
	case p == nil:
		return "there is no pulse", now
	case k.evidence.lost(p.Server, p.Client, k.seenAt):
		return "the keeper is lost", now
	case k.r.role == Node && p.Role != Node:
		return "the keeper is no node", now
	case now >= due:
		return "the pulse has stopped", now
	}
	return "", due
}

// takeOver puts out a first pulse, over whatever pulse stands in the view. Only one of many rivals can.
func (k *keeper) takeOver(why string) {
	_, over := k.r.view.pulse()
	revision, err := k.write(k.pulse(true, 0), over, nil)
	if err != nil {
		if conflict, ok := errors.AsType[*kvstore.ConflictError](err); ok && conflict.Actual <= k.r.Revision() {
			k.r.askCheck(kvstore.CheckAll)
		} else {
			k.r.askCheck(kvstore.CheckTail)
		}
		k.r.log.Debug("taking the pulse over", "why", why, "error", err)
		return
	}
	now := k.r.clock.Boot()
	t := k.r.times()
	k.r.log.Info("keeping the scope", "scope", k.r.scope, "why", why, "revision", revision)
	k.holding, k.last, k.roll = true, revision, 0
	k.nextAt = now + min(secondPulse, t.pulse)
	k.sweepAt, k.tailAt, k.wholeAt = now+sweepInterval, now+tailInterval, now+wholeInterval
	k.brake = brake{}
	k.extra = false
	for _, st := range k.sessions { // all clocks of silence start anew: what this process heard as a candidate proves nothing
		st.heard, st.unanswered, st.answered, st.suspicion = now, 0, 0, nil
		k.recall(st)
	}
}

// resign gives the pulse up.
func (k *keeper) resign(why string) {
	k.holding, k.tryAt = false, 0
	k.r.log.Info("no longer keeping the scope", "scope", k.r.scope, "why", why)
}

// pulse makes the next one. extra ones, and a keeper's first, report no roll call.
func (k *keeper) pulse(extra bool, roll kvstore.Revision) *pulse {
	p := &pulse{Node: k.r.node, Keeper: k.r.process, Role: k.r.role, Extra: extra, Roll: roll, Leases: len(k.sessions), At: k.r.clock.Wall().UTC(), Boot: k.r.clock.Boot(), V: recordVersion}
	_, p.Log, _ = k.r.view.at()
	if k.r.peers != nil {
		p.Server, p.Client, _ = k.r.peers.Link()
	}
	return p
}

// write puts a pulse into the log over the one at revision over, alone or in one step with the verdicts that it carries.
func (k *keeper) write(p *pulse, over kvstore.Revision, verdicts []verdict) (kvstore.Revision, error) {
	if len(verdicts) == 0 {
		return k.r.write(k.r.ctx, []kvstore.Op{{Key: keyPulse, Value: encode(p), Revision: over, TTL: pulseTTL}})
	}
	p.Ended = make(map[string]Reason, len(verdicts))
	ops := make([]kvstore.Op, 1, len(verdicts)+1)
	for _, v := range verdicts {
		p.Ended[v.session] = v.reason
		ops = append(ops, kvstore.Op{Key: leaseKey(v.session), Value: k.r.tombstone(v.reason), Revision: v.revision, Delete: true})
	}
	ops[0] = kvstore.Op{Key: keyPulse, Value: encode(p), Revision: over, TTL: pulseTTL}
	last, err := k.r.write(k.r.ctx, ops)
	return last - kvstore.Revision(len(verdicts)), err // the pulse is the first of the batch
}
