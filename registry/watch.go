package registry

import (
	"context"
	"iter"
	"slices"
	"strings"

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
	Collapsed bool // the view had a gap here: what happened in between is not told, only its result
}

// WatchOptions choose what a watch tells; nil is everything.
type WatchOptions struct {
	Name     string // only this name
	Group    string // only this group
	Property string // only properties of this key
	Buffer   int    // how many events a slow reader may be behind; 0 is 1024
}

// Watch tells first what is there, then Synced, then every change, until ctx ends: then it ends without an error. A reader that falls
// further behind than the buffer gets ErrLagged and has to start over; a closed registry gives ErrClosed. The loop's body runs on the caller's
// goroutine; leaving the loop ends the watch.
func (r *Registry) Watch(ctx context.Context, opts *WatchOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var o WatchOptions
		if opts != nil {
			o = *opts
		}
		if o.Buffer <= 0 {
			o.Buffer = 1024
		}
		for _, name := range []*string{&o.Name, &o.Group} {
			if *name == "" {
				continue
			}
			folded, err := ParseName(*name)
			if err != nil {
				yield(Event{}, err)
				return
			}
			*name = folded
		}
		if o.Property != "" {
			folded, err := ParseKey(o.Property)
			if err != nil {
				yield(Event{}, err)
				return
			}
			o.Property = folded
		}
		if err := r.WaitSynced(ctx); err != nil {
			if ctx.Err() == nil {
				yield(Event{}, err)
			}
			return
		}
		w := &watcher{opts: o, news: make(chan Event, o.Buffer)}
		first := r.view.subscribe(w)
		defer r.view.unsubscribe(w)
		for _, ev := range first {
			if !yield(ev, nil) {
				return
			}
		}
		for {
			select {
			case ev, ok := <-w.news:
				if !ok {
					yield(Event{}, ErrLagged)
					return
				}
				if !yield(ev, nil) {
					return
				}
			case <-ctx.Done():
				return
			case <-r.done:
				yield(Event{}, ErrClosed)
				return
			}
		}
	}
}

// watcher is one reader's buffer. The view fills it and closes it when it is full.
type watcher struct {
	opts WatchOptions
	news chan Event
	take func(Event) // in the place of news: called under the view's lock, and must not wait
}

func (w *watcher) wants(ev *Event) bool {
	switch ev.Kind {
	case Registered, Updated, Unregistered:
		return w.opts.Property == "" && w.opts.Group == "" && (w.opts.Name == "" || w.opts.Name == ev.Record.Name)
	case PropertySet, PropertyGone:
		return w.opts.Name == "" && w.opts.Group == "" && (w.opts.Property == "" || w.opts.Property == ev.Property.Key)
	case Joined, MemberUpdated, Left:
		return w.opts.Property == "" && w.opts.Name == "" && (w.opts.Group == "" || w.opts.Group == ev.Member.Group)
	}
	return true
}

// subscribe adds a watcher and returns what is visible at that moment, then Synced.
func (v *view) subscribe(w *watcher) []Event {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Event
	for _, rec := range v.names {
		out = append(out, Event{Kind: Registered, Record: *rec, Revision: rec.Revision})
	}
	for key, sessions := range v.having {
		for _, p := range sessions {
			out = append(out, Event{Kind: PropertySet, Property: *p, Holders: len(v.having[key]), Revision: p.Revision})
		}
	}
	for _, members := range v.groups {
		for _, m := range members {
			out = append(out, Event{Kind: Joined, Member: *m, Revision: m.Revision})
		}
	}
	out = slices.DeleteFunc(out, func(ev Event) bool { return !w.wants(&ev) })
	slices.SortFunc(out, func(a, b Event) int {
		if a.Revision != b.Revision {
			return int(int64(a.Revision) - int64(b.Revision))
		}
		return strings.Compare(a.Record.Name+a.Member.Group, b.Record.Name+b.Member.Group)
	})
	v.watchers[w] = struct{}{}
	return append(out, Event{Kind: Synced, Revision: v.revision})
}

func (v *view) unsubscribe(w *watcher) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.watchers, w)
}

// tell hands an event to the watchers that want it. It runs under mu and never waits: a full watcher is dropped and learns it.
func (v *view) tell(ev Event) {
	ev.Revision = v.revision
	for w := range v.watchers {
		if !w.wants(&ev) {
			continue
		}
		if w.take != nil {
			w.take(ev)
			continue
		}
		select {
		case w.news <- ev:
		default:
			delete(v.watchers, w)
			close(w.news)
		}
	}
}
