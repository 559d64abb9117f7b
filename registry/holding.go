package registry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// holding is one record that a session wants to hold: a name or a membership.
type holding struct {
	session *Session
	key     string
	ready   chan struct{} // closed when the claim has been decided
	done    chan struct{} // closed when it is held no more, or was never got
	given   atomic.Bool   // it was got and not yet given up

	mu       sync.Mutex
	value    any // *Record or *Member, as it was last applied
	revision kvstore.Revision
	err      error
	turn     chan struct{} // held by who changes it, where changes have to be one after the other; nil until then
	ended    func()        // called once, when it is held no more
	standby  *Standby      // of a place in a queue
}

// hold adds a holding to what the session wants, unless it is there already: then that one.
func (s *Session) hold(key string) (h *holding, isNew bool, err error) { return s.holdFor(key, nil) }

// holdFor is hold for a place in a queue.
func (s *Session) holdFor(key string, b *Standby) (h *holding, isNew bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, false, s.err
	}
	if s.ending {
		return nil, false, &SessionEndedError{Session: s.id, Reason: ReasonClosed}
	}
	if h := s.holds[key]; h != nil {
		return h, false, nil
	}
	h = &holding{session: s, key: key, standby: b, ready: make(chan struct{}), done: make(chan struct{})}
	if b != nil {
		b.h = h
	}
	s.holds[key] = h
	return h, true, nil
}

// got marks a holding as held. One that was taken away since its claim is lost at once: who took that in found nothing that was held yet.
func (h *holding) got() {
	h.given.Store(true) // before the look, so that what comes after the look finds it held
	e := h.session.r.view.newest(h.key)
	if e == nil || e.session != h.session.id {
		h.session.drop(h, ErrLost)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		h.given.Store(false)
		return
	}
	if h.revision < e.revision {
		h.value, h.revision = e.value, e.revision
	}
	close(h.ready)
}

// finish marks a holding as held no more. The first reason stays.
func (h *holding) finish(err error) {
	h.given.Store(false)
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return
	}
	h.err = err
	select {
	case <-h.ready:
	default:
		close(h.ready)
	}
	close(h.done)
	ended := h.ended
	h.mu.Unlock()
	if ended != nil {
		ended()
	}
}

// onEnd has fn called when it is held no more, at once where that is so already. fn must not take a session's lock.
func (h *holding) onEnd(fn func()) {
	h.mu.Lock()
	over := h.err != nil
	h.ended = fn
	h.mu.Unlock()
	if over {
		fn()
	}
}

// error is nil while it is wanted or held.
func (h *holding) error() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// drop takes a holding off what the session wants: from here on whatever stands under its key in the session's name is removed.
func (s *Session) drop(h *holding, err error) {
	s.mu.Lock()
	if s.holds[h.key] == h {
		delete(s.holds, h.key)
	}
	s.dirty = true
	s.mu.Unlock()
	h.finish(err)
}

// moved takes in that a key whose record was the session's has changed.
func (s *Session) moved(c change) {
	s.mu.Lock()
	h := s.holds[c.key]
	s.mu.Unlock()
	if h == nil {
		return
	}
	if c.new != nil && c.new.session == s.id {
		h.mu.Lock()
		h.value, h.revision = c.new.value, c.new.revision
		h.mu.Unlock()
		return
	}
	if h.standby != nil && c.new != nil && c.new.ended && c.new.reason == ReasonElected {
		return // the claim itself tells it, when the name is held
	}
	if h.given.Load() {
		lost := &LostError{Key: c.key, Reason: endReason(c)}
		if c.new != nil {
			lost.By = c.new.session
		}
		s.drop(h, lost)
		s.leaveAll(c.old)
	}
}

// leaveAll takes the instance of a name that was lost out of its groups: what served the name serves it no more.
func (s *Session) leaveAll(lost *entry) {
	rec, ok := lost.value.(*Record)
	if !ok || rec.Instance == s.id {
		return
	}
	if hs := s.memberships(rec.Instance); len(hs) > 0 {
		s.r.spawn(func() {
			if err := s.release(s.r.ctx, hs, ReasonReplaced, ErrLost); err != nil {
				s.r.log.Debug("leaving the groups of a lost name", "name", rec.Name, "error", err)
			}
		})
	}
}

// memberships lists what the session holds for an instance in groups.
func (s *Session) memberships(instance string) (hs []*holding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, h := range s.holds {
		if kind, rest := splitKey(key); kind == kindGroup {
			if _, of, ok := splitGroup(rest); ok && of == instance {
				hs = append(hs, h)
			}
		}
	}
	return hs
}

// appeared takes in that a record in the session's name is in the log. One that the session does not want is removed.
func (s *Session) appeared(e *entry) {
	s.mu.Lock()
	wanted := s.holds[e.key] != nil
	s.mu.Unlock()
	if wanted || s.sharing(e.key) || s.received(e) {
		return
	}
	s.mu.Lock()
	s.dirty = true
	s.mu.Unlock()
}

// tidy removes the records in the session's name that it does not want: what a write left whose outcome its caller never learned.
func (s *Session) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty || s.tidying || s.err != nil {
		return
	}
	s.dirty = false
	s.tidying = s.r.spawn(func() {
		var unwanted []*entry
		for _, e := range s.r.view.keysOf(s.id) {
			s.mu.Lock()
			wanted := s.holds[e.key] != nil
			s.mu.Unlock()
			if kind, _ := splitKey(e.key); !wanted && kind != kindLease && !e.ended && !s.sharing(e.key) {
				unwanted = append(unwanted, e)
			}
		}
		s.r.remove(s.r.ctx, unwanted, ReasonUnregistered)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tidying = false
		s.dirty = s.dirty || len(unwanted) > 0 // look once more, until nothing is left
	})
}

// write does ops, one alone or many as a batch: a batch costs more on a single server. One attempt is short, since what was sent to a leader
// that was just killed is never answered: ErrUnknown then, to be settled by another.
func (r *Registry) write(ctx context.Context, ops []kvstore.Op) (kvstore.Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if len(ops) > 1 {
		return r.store.Batch(ctx, ops)
	}
	switch op := ops[0]; {
	case op.Delete:
		return r.store.Delete(ctx, op.Key, op.Value, op.Revision)
	case op.Revision == 0:
		return r.store.Create(ctx, op.Key, op.Value, op.TTL)
	default:
		return r.store.Update(ctx, op.Key, op.Value, op.Revision, op.TTL)
	}
}

const (
	attemptTime = 2 * time.Second
	// patience is how long a store without a leader is waited for, where the caller would wait for ever: longer than stock NATS elects.
	patience = 15 * time.Second
)

// release gives up holdings: none of them is the session's from here on, whatever becomes of the writes. It returns when the view shows
// their end. What ctx leaves undone is removed later, as long as the session lives, and with it otherwise.
func (s *Session) release(ctx context.Context, hs []*holding, reason Reason, err error) error {
	for _, h := range hs {
		s.drop(h, err)
	}
	r := s.r
	ctx, cancel := r.merge(ctx)
	defer cancel()
	var wait backoff
	for {
		var ops []kvstore.Op
		for _, h := range hs {
			if e := r.view.newest(h.key); e != nil && !e.ended && e.session == s.id {
				ops = append(ops, kvstore.Op{Key: h.key, Value: r.tombstone(reason), Revision: e.revision, Delete: true})
			}
		}
		if len(ops) == 0 {
			return nil
		}
		last, err := r.write(ctx, ops)
		if err == nil {
			return r.WaitFor(ctx, last)
		}
		if !r.settle(ctx, err, &wait) {
			return closedOr(err, r)
		}
	}
}
