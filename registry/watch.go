package registry

import (
	"context"
	"iter"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// EventKind says what happened.
type EventKind string

const (
	Registered    EventKind = "registered"     // a name has an owner
	Updated       EventKind = "updated"        // its owner changed what he says about it
	Unregistered  EventKind = "unregistered"   // a name has no owner, or another one: then Registered follows
	Joined        EventKind = "joined"         // a group has a member
	MemberUpdated EventKind = "member updated" // what is said about the member changed
	Left          EventKind = "left"           // a member is gone
	PropertySet   EventKind = "property set"   // a session has a property, or another value of it
	PropertyGone  EventKind = "property gone"  // a session has it no more
	Synced        EventKind = "synced"         // what was there when the watch began has been told; what follows is news
)

// Event is one change of what is visible, in the order of the log.
type Event struct {
	Kind      EventKind
	Record    Record   // of a name
	Member    Member   // of a group
	Property  Property // of a session
	Holders   int      // of a property's key: how many living sessions have one, after this
	Reason    Reason   // why something ended
	Revision  kvstore.Revision
	Previous  kvstore.Revision // before the step of the log that this is a part of: see WatchOptions.Since
	Time      time.Time        // when the log took it, by the store's clock, for people and for WatchOptions.SinceTime; zero where that is not known
	Collapsed bool             // the view had a gap here: what happened in between is not told, only its result

	before *Record // of Updated: what was said before
}

// WatchOptions choose what a watch tells; nil is everything. With a name, a pattern or a selector it tells of names alone.
type WatchOptions struct {
	Name     string // only this name
	Pattern  string // only names of this pattern: see ParsePattern
	Selector string // only names with such labels: see ParseSelector
	Group    string // only this group
	Property string // only properties of this key
	Buffer   int    // how many events a slow reader may be behind; 0 is 1024

	// Since, where it is not 0, resumes a watch: its reader knows what was true at this revision, and is told what has changed since. It is the Revision of
	// a Synced, or the Previous of any event: one step of the log may change many things, which have the revision of the step, and a reader that
	// stops may have seen only some of them.
	Since kvstore.Revision
	// SinceTime is the Time of the last event that the reader was told, where he has kept it: no change that he missed is older. In a quiet scope it
	// is the only thing that shows how old Since is.
	SinceTime time.Time
}

// Watch tells first what is there, then Synced, then every change, until ctx ends: then it ends without an error. A reader that falls
// further behind than the buffer gets a *LaggedError (ErrLagged) and has to start over, or to resume as it says; a closed registry gives ErrClosed; options that are none give
// ErrBadName, ErrBadPattern or ErrBadSelector. The loop's body runs on the caller's goroutine; leaving the loop ends the watch.
//
// With a selector, a name that comes to have the labels is told as Registered, and one that has them no more as Unregistered with ReasonUnselected.
//
// With Since it tells, before Synced, not what is there but what has changed since, as far as the newest records show it, all marked as Collapsed: of several
// changes of one thing the last. A Registered or Joined then takes the place of whatever the reader knows of that name or member, which may have had another
// owner; an Unregistered or Left may be of something that he never knew, and has only its name where nothing more is left of it. A tombstone is kept for
// kvstore.TombstoneTTL and then vanishes: where Since may be older than that, or than the log, the watch ends with a *TooOldError (ErrTooOld), and its reader
// has to start over. What was purged by hand is not told.
func (r *Registry) Watch(ctx context.Context, opts *WatchOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w, err := newWatcher(opts)
		if err != nil {
			yield(Event{}, err)
			return
		}
		if err := r.WaitSynced(ctx); err != nil {
			if ctx.Err() == nil {
				yield(Event{}, err)
			}
			return
		}
		first, err := r.begin(ctx, w)
		if err != nil {
			if ctx.Err() == nil {
				yield(Event{}, err)
			}
			return
		}
		defer r.view.unsubscribe(w)
		for _, ev := range first {
			if !yield(ev, nil) {
				return
			}
		}
		for {
			ev, err := r.next(ctx, w)
			if ctx.Err() != nil || !yield(ev, err) || err != nil {
				return
			}
		}
	}
}

// begin subscribes a watcher and returns what it is told first.
func (r *Registry) begin(ctx context.Context, w *watcher) ([]Event, error) {
	if w.opts.Since == 0 {
		return r.view.subscribe(w), nil
	}
	if err := r.reach(ctx, w.opts.Since); err != nil {
		return nil, err
	}
	return r.view.resume(w, r.clock.Wall())
}

// next waits for a watcher's next event: ErrLagged, ErrClosed, the context's error.
func (r *Registry) next(ctx context.Context, w *watcher) (Event, error) {
	select {
	case ev, ok := <-w.news:
		if !ok {
			return Event{}, &LaggedError{Since: w.lost.Previous, SinceTime: w.lost.Time}
		}
		return ev, nil
	case <-ctx.Done():
		return Event{}, ctx.Err()
	case <-r.done:
		return Event{}, ErrClosed
	}
}
