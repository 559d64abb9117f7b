package registry

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Succession is one change of who holds a name.
type Succession struct {
	Name     string
	Held     bool   // somebody holds it now: Owner
	Owner    Record // zero where nobody does
	Before   Record // who held it until now; zero where nobody did, and in the first
	Reason   Reason // why he does no more; "" where nobody did
	Revision kvstore.Revision
	Time     time.Time // when the log took it, by the store's clock; zero where that is not known

	// Collapsed: there may have been others between Before and Owner.
	Collapsed bool
}

// Follow follows a name from owner to owner: first who holds it, or that nobody does, then each change of that, until ctx ends: then it ends without an error.
// Where one owner takes the place of another in one step (a standby, a transfer, a take-over) that is one change. What an owner changes about himself is none. A reader
// that is slow is told less, marked as collapsed, never nothing. Errors: ErrBadName, ErrNotSynced, ErrClosed. Leaving the loop ends it.
func (r *Registry) Follow(ctx context.Context, name string) iter.Seq2[Succession, error] {
	return func(yield func(Succession, error) bool) {
		name, err := ParseName(name)
		if err != nil {
			yield(Succession{Name: name}, err)
			return
		}
		if err := r.WaitSynced(ctx); err != nil {
			if ctx.Err() == nil {
				yield(Succession{Name: name}, err)
			}
			return
		}
		f := follower{r: r, name: name}
		for {
			err := f.follow(ctx, yield)
			if errors.Is(err, ErrLagged) {
				continue // from what is there now
			}
			if err != nil && ctx.Err() == nil {
				yield(Succession{Name: name}, err)
			}
			return
		}
	}
}

// follower is what one reader of Follow was told last.
type follower struct {
	r     *Registry
	name  string
	told  bool
	owner *Record
}

// follow tells what there is, then what happens, until the buffer overflows (ErrLagged), or it is over. It returns nil when the reader has left.
func (f *follower) follow(ctx context.Context, yield func(Succession, error) bool) error {
	v := f.r.view
	w := &watcher{opts: WatchOptions{Name: f.name}, news: make(chan Event, 64)}
	first := v.subscribe(w)
	defer v.unsubscribe(w)
	now := first[0]
	if now.Kind == Synced {
		now.Kind = Unregistered // nobody holds it
	}
	again := f.told
	f.told = true
	if s, changed := f.succeed(now, ""); !again || changed {
		if s.Collapsed = again; again && s.Before.Name != "" {
			s.Reason = v.endedBy(s.Before)
		}
		if !yield(s, nil) {
			return nil
		}
	}
	tell := func(ev Event, reason Reason) bool {
		s, changed := f.succeed(ev, reason)
		return !changed || yield(s, nil)
	}
	for {
		ev, err := f.r.next(ctx, w)
		if err != nil {
			return err
		}
		if ev.Kind != Unregistered {
			if !tell(ev, ReasonReplaced) {
				return nil
			}
			continue
		}
		next, more, err := v.beside(w)
		switch {
		case err != nil:
			return err
		case more && next.Revision == ev.Revision: // one step
			next.Collapsed = next.Collapsed || ev.Collapsed
			if !tell(next, ev.Reason) {
				return nil
			}
		case !tell(ev, ev.Reason), more && !tell(next, ""):
			return nil
		}
	}
}

// beside takes what a watcher was told beside its last event, if anything: the step that told that is over when it returns.
func (v *view) beside(w *watcher) (ev Event, more bool, err error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	select {
	case ev, ok := <-w.news:
		if !ok {
			return ev, false, ErrLagged
		}
		return ev, true, nil
	default:
		return ev, false, nil
	}
}

// succeed takes in who holds the name after an event, and why the one before does no more.
func (f *follower) succeed(ev Event, reason Reason) (s Succession, changed bool) {
	s = Succession{Name: f.name, Revision: ev.Revision, Time: ev.Time, Collapsed: ev.Collapsed}
	was, now := f.owner, (*Record)(nil)
	if ev.Kind != Unregistered {
		now = &ev.Record
		s.Held, s.Owner = true, ev.Record
	}
	if was != nil {
		s.Before, s.Reason = *was, reason
	}
	f.owner = now
	same := was == nil && now == nil ||
		was != nil && now != nil && was.Session == now.Session && was.Instance == now.Instance && was.Token == now.Token
	return s, !same
}

// endedBy says why a tenure of a name has ended, as far as the records show it.
func (v *view) endedBy(rec Record) Reason {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if e := v.ender(rec.Name, rec.Session, rec.Token); e != nil {
		return e.why()
	}
	return ReasonReplaced
}
