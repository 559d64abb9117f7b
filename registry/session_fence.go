package registry

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// An owner fences itself: it serves only while it can prove to itself, by its own clock alone, that nobody can have ended its lease
// without its having seen it. The proof counts from a reading of its clock before it sent something that the log, or the keeper through the
// log, has confirmed since.

// refresh writes the lease again, in the background, unless that is already on its way.
func (s *Session) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.ending || s.created == 0 {
		return
	}
	if elapsed(s.r.clock, s.written) > leaseOld {
		s.r.spawn(s.abandon)
		return
	}
	s.busy = s.r.spawn(s.refreshing)
}

// abandon ends a session whose lease is too old to be written again: the store's expiry could overtake the write.
func (s *Session) abandon() {
	s.end(ReasonLeaseAge)
	s.r.sweepStrays()
}

// refreshing writes the lease until one write was accepted or the session has ended.
func (s *Session) refreshing() {
	r := s.r
	finished := false
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy = s.busy && finished
	}()
	var wait backoff
	for {
		s.mu.Lock()
		if s.ending || elapsed(r.clock, s.written) > leaseOld {
			s.mu.Unlock()
			return
		}
		if r.peers != nil {
			s.lease.Server, s.lease.Client, s.lease.Servers = r.peers.Link()
		}
		number, revision := s.attemptLocked(), s.revision
		value := encode(leaseRecord{Lease: s.lease, V: recordVersion})
		s.mu.Unlock()
		now, err := r.write(r.ctx, []kvstore.Op{{Key: leaseKey(s.id), Value: value, Revision: revision, TTL: leaseTTL}})
		if err == nil {
			if r.WaitFor(r.ctx, now) != nil {
				return
			}
			s.mu.Lock()
			finished = s.resumeAt == 0 || s.resumeAt == suspended || number >= s.resumeAt
			if finished { // in one step with the question: who asks for another refresh from here on starts one
				s.busy = false
			}
			s.mu.Unlock()
			if finished {
				return
			}
			continue
		}
		if !errors.Is(err, kvstore.ErrUnknown) {
			s.mu.Lock()
			delete(s.attempts, number)
			s.mu.Unlock()
		}
		if !r.settle(r.ctx, err, &wait) && !wait.wait(r.ctx) {
			return
		}
	}
}

// suspended is the attempt that never comes: which one ends the suspension is known when the connection is back.
const suspended = ^uint64(0)

// suspend stops serving until a write of the lease that begins after resume was applied.
func (s *Session) suspend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.created == 0 {
		return
	}
	s.resumeAt = suspended
	s.serving.Store(nil)
}

// resume asks for that write.
func (s *Session) resume() {
	s.mu.Lock()
	if s.resumeAt == 0 {
		s.mu.Unlock()
		return
	}
	s.resumeAt = s.lease.Attempt + 1
	s.mu.Unlock()
	s.refresh()
}

// applied takes in that the view has applied an entry of the session's own lease.
func (s *Session) applied(lease *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	if s.created == 0 {
		s.created = lease.Revision
	}
	s.revision = lease.Revision
	a, known := s.attempts[lease.Attempt]
	for n := range s.attempts {
		if n <= lease.Attempt {
			delete(s.attempts, n) // an earlier one can be in the log no more: each was guarded by the revision before
		}
	}
	if !known {
		return // not a write of ours, or an old one: it proves nothing
	}
	if a.read.after(s.written) {
		s.written = a.read
	}
	if s.resumeAt != 0 && lease.Attempt >= s.resumeAt {
		s.resumeAt = 0
	}
	s.extendLocked(a.read)
}

// extend counts the validity from m, if that is later than now.
func (s *Session) extend(m moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extendLocked(m)
}

func (s *Session) extendLocked(m moment) {
	if s.ending {
		return
	}
	if m.after(s.valid) {
		s.valid = m
	}
	if s.resumeAt == 0 {
		valid := s.valid
		s.serving.Store(&valid)
	}
}

// look does what time alone asks for: a refresh when the validity has run down to half, or when the lease has come to an age.
func (s *Session) look(t timing) {
	s.mu.Lock()
	half := elapsed(s.r.clock, s.valid) > t.valid()/2
	aged := elapsed(s.r.clock, s.written) > leaseFresh-time.Duration(rand.Int64N(int64(leaseFresh/5)))
	old := elapsed(s.r.clock, s.written) > leaseOld
	due := s.created != 0 && !s.ending && (half || aged)
	s.mu.Unlock()
	switch {
	case due && old:
		s.abandon()
	case due:
		s.refresh()
	}
}
