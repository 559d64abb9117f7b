package registry

import (
	"context"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Revision is the revision up to which the view has everything.
func (r *Registry) Revision() kvstore.Revision {
	revision, _, _ := r.view.at()
	return revision
}

// Age says how old the view can be: what the log had that long ago is in it. It is known from the last pulse; ok is false where none was
// seen, as in a scope that nobody keeps. To a process with sessions it is proved by the roll call. One without sessions takes it from how late the pulses come, and trusts the
// keeper's clock to go as fast as its own, within a twentieth, and one pulse in many not to be late.
func (r *Registry) Age() (age time.Duration, ok bool) {
	r.mu.Lock()
	written := r.writtenAt
	r.mu.Unlock()
	if written.zero() {
		return 0, false
	}
	return elapsed(r.clock, written), true
}

// WaitSynced waits until the view has loaded its first snapshot: ErrNotSynced, with the context's error, when ctx ends first; ErrClosed.
func (r *Registry) WaitSynced(ctx context.Context) error {
	select {
	case <-r.synced:
		return nil
	default:
	}
	select {
	case <-r.synced:
		return nil
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return &waitError{ErrNotSynced, ctx.Err()}
	}
}

// WaitFor waits until the view has everything up to revision. When the feed is late it asks for a snapshot.
func (r *Registry) WaitFor(ctx context.Context, revision kvstore.Revision) error {
	applied := r.applied(revision)
	if applied == nil {
		return nil
	}
	late := time.NewTimer(staleAfter)
	defer late.Stop()
	for {
		select {
		case <-applied:
			return nil
		case <-late.C:
			r.askCheck(kvstore.CheckTail)
			late.Reset(4 * staleAfter)
		case <-r.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Refresh makes what is read after it linearizable: it puts a barrier into the log and waits until the view has applied it.
func (r *Registry) Refresh(ctx context.Context) error {
	revision, err := r.store.Barrier(ctx)
	if err != nil {
		return err
	}
	return r.WaitFor(ctx, revision)
}

// waiter waits for the view to reach a revision.
type waiter struct {
	revision kvstore.Revision
	applied  chan struct{}
}

// applied returns a channel that is closed when the view has reached revision, or nil if it has already.
func (r *Registry) applied(revision kvstore.Revision) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Revision() >= revision {
		return nil
	}
	w := waiter{revision, make(chan struct{})}
	r.waiting = append(r.waiting, w)
	return w.applied
}

// wake tells those whose revision has come.
func (r *Registry) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	revision, _, synced := r.view.at()
	rest := r.waiting[:0]
	for _, w := range r.waiting {
		if w.revision <= revision {
			close(w.applied)
		} else {
			rest = append(rest, w)
		}
	}
	clear(r.waiting[len(rest):])
	r.waiting = rest
	if synced {
		select {
		case <-r.synced:
		default:
			close(r.synced)
		}
	}
}

// waitError joins what was waited for and why the wait ended.
type waitError struct{ what, why error }

// Error says both.
func (e *waitError) Error() string { return e.what.Error() + ": " + e.why.Error() }

// Unwrap gives both.
func (e *waitError) Unwrap() []error { return []error{e.what, e.why} }
