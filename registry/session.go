package registry

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// SessionOptions are the ways to open a session; nil works.
type SessionOptions struct {
	// Mode is Service where it is empty.
	Mode Mode
	// Receiver takes names that other sessions give to this one; nil takes none.
	Receiver *Receiver
	// Replaces is a session of this registry that has stopped serving: its lease, if it still stands, ends in the very step that opens
	// the new one.
	Replaces *Session
}

// Session is one owner's liveness. Names and memberships hang on it: they are visible while its lease is in the log, and end with it.
// A process may have many. It keeps itself alive until Close; when it ends otherwise, Done is closed and Err says why, and its owner
// opens another and claims again. Its methods may be called concurrently.
type Session struct {
	r        *Registry
	id       string
	mode     Mode
	created  kvstore.Revision // of its lease: in the log from here on
	done     chan struct{}
	receiver *Receiver
	serving  atomic.Pointer[moment] // from when its validity counts; nil while it may not serve

	mu       sync.Mutex
	lease    Lease
	revision kvstore.Revision   // newest of its lease that this view has applied
	attempts map[uint64]attempt // writes of the lease that are on their way, by their number
	written  moment             // before the newest write that was applied: the lease's own TTL counts from later
	valid    moment             // from when its validity counts
	resumeAt uint64             // the attempt that has to be applied before it may serve again; 0: it may
	busy     bool               // a refresh runs
	ending   bool               // the end of its lease was sent: never valid again
	err      error
	holds    map[string]*holding // by key: what it wants to hold
	dirty    bool                // records of it may be in the log that it does not want
	tidying  bool
	taking   map[string]bool // shared names whose record it is about to take over

	stop func() // of its subscription to probes
}

// attempt is one write of a lease.
type attempt struct{ read moment }

// NewSession opens a session: it writes a lease and waits until the view has it. Outcomes that stay unknown are tried again under another id until
// ctx ends; a lease that appears later for such an id is removed. Errors: ErrUnavailable, ErrClosed, the context's.
func (r *Registry) NewSession(ctx context.Context, opts *SessionOptions) (*Session, error) {
	var o SessionOptions
	if opts != nil {
		o = *opts
	}
	if o.Mode == "" {
		o.Mode = Service
	}
	ctx, cancel := r.merge(ctx)
	defer cancel()
	if err := r.WaitSynced(ctx); err != nil {
		return nil, err
	}
	var wait backoff
	for {
		s, err := r.openSession(ctx, o)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, kvstore.ErrConflict) && !passing(err, &wait) || !wait.wait(ctx) {
			return nil, closedOr(err, r)
		}
	}
}

func (r *Registry) openSession(ctx context.Context, o SessionOptions) (*Session, error) {
	s := &Session{r: r, id: nuid.Next(), mode: o.Mode, receiver: o.Receiver, done: make(chan struct{}), attempts: map[uint64]attempt{}, holds: map[string]*holding{}, taking: map[string]bool{}}
	s.lease = Lease{Node: r.node, Session: s.id, Process: r.process, Host: r.host, PID: os.Getpid(), Mode: o.Mode, Started: r.clock.Wall().UTC()}
	if r.peers != nil {
		s.lease.Server, s.lease.Client, s.lease.Servers = r.peers.Link()
	}
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return nil, r.err
	}
	r.opening[s.id] = struct{}{}
	r.sessions[s.id] = s // so that its lease is recognised when the view applies it
	r.mu.Unlock()
	if r.peers != nil {
		stop, err := r.peers.Subscribe(r.subject(s.id), s.asked)
		if err != nil {
			return nil, r.refuse(s, err)
		}
		s.mu.Lock()
		s.stop = stop
		ended := s.err
		s.mu.Unlock()
		if ended != nil { // its end came before there was anything to stop
			stop()
			return nil, r.refuse(s, ended)
		}
	}
	s.mu.Lock()
	number := s.attemptLocked()
	value := encode(leaseRecord{Lease: s.lease, V: recordVersion})
	s.mu.Unlock()
	revision, err := r.createLease(ctx, s.id, value, o.Replaces)
	if err != nil {
		s.mu.Lock()
		delete(s.attempts, number)
		s.mu.Unlock()
		return nil, r.refuse(s, err)
	}
	if err := r.WaitFor(ctx, revision); err != nil {
		return nil, r.refuse(s, err)
	}
	if err := s.Err(); err != nil {
		return nil, r.refuse(s, err)
	}
	r.mu.Lock()
	delete(r.opening, s.id)
	r.mu.Unlock()
	r.log.Debug("session opened", "session", s.id, "mode", s.mode, "revision", revision)
	return s, nil
}

// refuse gives up a session that could not be opened. Should its lease show after all, it is a stray.
func (r *Registry) refuse(s *Session, err error) error {
	s.end(ReasonRefused)
	r.mu.Lock()
	delete(r.opening, s.id)
	r.mu.Unlock()
	r.sweepStrays()
	return err
}

// createLease writes the lease of a new session and, in the same step, ends the one that it replaces, where that still stands.
func (r *Registry) createLease(ctx context.Context, id string, value []byte, replaces *Session) (kvstore.Revision, error) {
	if replaces != nil {
		replaces.end(ReasonReplaced)
		if old := r.view.newest(leaseKey(replaces.id)); old != nil && !old.ended {
			last, err := r.write(ctx, []kvstore.Op{
				{Key: leaseKey(id), Value: value, TTL: leaseTTL},
				{Key: leaseKey(replaces.id), Value: r.tombstone(ReasonReplaced), Revision: old.revision, Delete: true},
			})
			if !errors.Is(err, kvstore.ErrConflict) {
				return last, err
			}
		}
	}
	return r.write(ctx, []kvstore.Op{{Key: leaseKey(id), Value: value, TTL: leaseTTL}})
}

func (r *Registry) tombstone(reason Reason) []byte {
	return encode(tombstone{Reason: reason, By: r.node, V: recordVersion})
}

// attemptLocked numbers the next write of the lease and reads the clock before it.
func (s *Session) attemptLocked() uint64 {
	s.lease.Attempt++
	s.attempts[s.lease.Attempt] = attempt{read: read(s.r.clock)}
	return s.lease.Attempt
}

// ID is the session's id: that of its lease.
func (s *Session) ID() string { return s.id }

// Mode is Service or Strict.
func (s *Session) Mode() Mode { return s.mode }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is nil while the session lives, then a *SessionEndedError (ErrSessionEnded).
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Valid tells whether the owner may serve now. It is cheap: ask it for every request, when the request is taken up. It is false
// while the connection is lost, after silence of nine tenths of a TTL, and for ever once the end of the lease was sent.
func (s *Session) Valid() bool {
	m := s.serving.Load()
	return m != nil && elapsed(s.r.clock, *m) < s.r.times().valid()
}

// Close ends the session with one entry: all that it holds is gone at that instant, everywhere. It then removes the records that are left, as
// far as ctx allows; the keeper sweeps the rest. From the call on the session is not valid. Closing again does nothing.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.err != nil || s.ending {
		s.mu.Unlock()
		return nil
	}
	s.ending = true
	s.serving.Store(nil)
	s.mu.Unlock()
	err := s.r.endLease(ctx, s.id, ReasonClosed)
	s.end(ReasonClosed)
	if err == nil {
		s.r.sweepSession(ctx, s.id)
	}
	return err
}

// endLease deletes a session's lease at whatever revision it has, until it is gone or ctx ends.
func (r *Registry) endLease(ctx context.Context, id string, reason Reason) error {
	var wait backoff
	for {
		e := r.view.newest(leaseKey(id))
		if e == nil || e.ended {
			return nil
		}
		revision, err := r.write(ctx, []kvstore.Op{{Key: e.key, Value: r.tombstone(reason), Revision: e.revision, Delete: true}})
		if err == nil {
			return r.WaitFor(ctx, revision)
		}
		if !r.settle(ctx, err, &wait) {
			return err
		}
	}
}

// settle says whether a refused or unknown write should be tried again on what the view shows then: it waits until the view has applied what
// refused it. A refusal that the view cannot explain forces a snapshot.
func (r *Registry) settle(ctx context.Context, err error, wait *backoff) bool {
	if conflict, ok := errors.AsType[*kvstore.ConflictError](err); ok {
		if conflict.Actual > r.Revision() {
			return r.WaitFor(ctx, conflict.Actual) == nil
		}
		if conflict.Actual > conflict.Expected && !wait.explained { // the view has learned of it while the refusal was under way: no need to wait
			wait.explained = true
			return true
		}
		if wait.last > 0 || conflict.Expected != 0 && conflict.Actual == 0 {
			r.askCheck(kvstore.CheckAll)
		}
		return wait.wait(ctx)
	}
	if passing(err, wait) {
		r.askCheck(kvstore.CheckTail)
		return wait.wait(ctx)
	}
	return false
}

// passing tells whether an error of the store passes by itself: it is too busy, or a write got lost, or, for a time, it has no leader.
func passing(err error, wait *backoff) bool {
	if errors.Is(err, kvstore.ErrUnavailable) {
		wait.waited += attemptTime // which the attempt has taken
		return wait.waited < patience
	}
	return errors.Is(err, kvstore.ErrUnknown) || errors.Is(err, kvstore.ErrBusy)
}

// end marks the session as ended and tells all that hung on it. It writes nothing.
func (s *Session) end(reason Reason) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = &SessionEndedError{Session: s.id, Reason: reason}
	s.ending = true
	s.serving.Store(nil)
	held := s.holds
	s.holds = map[string]*holding{}
	err, stop := s.err, s.stop
	s.mu.Unlock()
	for _, h := range held {
		h.finish(err)
	}
	close(s.done)
	s.r.mu.Lock()
	delete(s.r.sessions, s.id)
	s.r.mu.Unlock()
	if stop != nil {
		stop()
	}
	s.r.log.Debug("session ended", "session", s.id, "reason", reason)
}
