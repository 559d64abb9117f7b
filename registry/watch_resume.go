package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// LaggedError says from where a reader that was too slow can resume his watch: all before that he was told.
type LaggedError struct {
	Since     kvstore.Revision
	SinceTime time.Time
}

// Error says where the watch can be resumed.
func (e *LaggedError) Error() string {
	return fmt.Sprintf("%v: what came after revision %d is lost to it", ErrLagged, e.Since)
}

// Is reports that a LaggedError is ErrLagged.
func (e *LaggedError) Is(target error) bool { return target == ErrLagged }

// ErrTooOld: a watch cannot be resumed from there; its reader has to start over, without Since. The error is a *TooOldError.
var ErrTooOld = errors.New("registry: too old to resume")

// TooOldError says from where a watch cannot be resumed, and why.
type TooOldError struct {
	Since kvstore.Revision
	Why   string
}

// Error says the revision, the reason and what to do.
func (e *TooOldError) Error() string {
	return fmt.Sprintf("registry: a watch cannot be resumed from revision %d: %s; start over", e.Since, e.Why)
}

// Is reports that a TooOldError is ErrTooOld.
func (e *TooOldError) Is(target error) bool { return target == ErrTooOld }

// resumeMargin is how much earlier than its tombstones vanish a revision is too old: for clocks that differ, and for a view that is behind.
const resumeMargin = 10 * time.Minute

// reach waits until the view has come to a revision that its caller says is there.
func (r *Registry) reach(ctx context.Context, since kvstore.Revision) error {
	if since <= r.Revision() {
		return nil
	}
	now, err := r.store.Barrier(ctx)
	if err != nil {
		return err
	}
	if since > now {
		return &TooOldError{Since: since, Why: fmt.Sprintf("the log has only come to %d, so it is another one", now)}
	}
	return r.WaitFor(ctx, since)
}

// resume is subscribe for a reader that knows what was true at a revision: it returns what has changed since, then Synced.
func (v *view) resume(w *watcher, now time.Time) ([]Event, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.resumable(w.opts.Since, w.opts.SinceTime, now); err != nil {
		return nil, err
	}
	var out []Event
	for key, e := range v.records {
		ev, ok := v.since(key, e, w.opts.Since)
		if !ok || !w.wants(&ev) {
			continue
		}
		if there := ev.Kind == Registered || ev.Kind == Updated; there && !w.selector.Match(ev.Record.Labels) {
			ev.Kind, ev.Reason = Unregistered, ReasonUnselected // it may have been selected before
		} else if there && !w.selector.Empty() {
			ev.Kind = Registered // it may not have been
		}
		ev.Collapsed, ev.Previous = true, ev.Revision-1
		out = append(out, ev)
	}
	slices.SortFunc(out, asTold)
	v.enlist(w)
	return append(out, v.syncedNow()), nil
}

// resumable tells whether every tombstone written after a revision is still there. A record of this log that is not younger than the revision shows that the log
// had come so far then; its time, or the one that the reader has kept, shows that this was not too long ago. It runs under mu.
func (v *view) resumable(since kvstore.Revision, at, now time.Time) error {
	var known *entry
	for _, e := range v.records {
		if e.revision <= since && (known == nil || e.revision > known.revision) {
			known = e
		}
	}
	if known == nil {
		return &TooOldError{Since: since, Why: "the log has nothing from before it"}
	}
	if t := known.when(); t.After(at) {
		at = t
	}
	if newest := (&entry{stored: v.stored}).when(); newest.After(now) {
		now = newest
	}
	if limit := kvstore.TombstoneTTL - resumeMargin; now.Sub(at) > limit {
		return &TooOldError{Since: since, Why: fmt.Sprintf("it may be from %s, more than %s ago, and what ended before that is forgotten", at.UTC().Format(time.RFC3339), limit)}
	}
	return nil
}

// since tells what a key's newest record says of a change after a revision, as the last of all that may have happened to what it is about. It runs under mu.
func (v *view) since(key string, e *entry, since kvstore.Revision) (ev Event, ok bool) {
	kind, rest := splitKey(key)
	last := v.lastChange(e)
	ev.Revision, ev.Time = last.revision, last.when()
	switch kind {
	case kindName:
		rec := v.names.find(rest)
		switch {
		case rec == nil:
			ev.Kind, ev.Record, ev.Reason = Unregistered, Record{Name: rest}, v.endOf(e)
			if gone, ok := e.value.(*Record); ok {
				ev.Record = *gone
				if gone.Digest != "" { // those who shared it may have gone at any time: it is told once more
					return ev, true
				}
			}
		case rec.Token > since:
			ev.Kind, ev.Record = Registered, *rec
		default:
			ev.Kind, ev.Record = Updated, *rec
			if rec.Session != e.session { // one who shares it stands for it, from any time on
				return ev, true
			}
		}
	case kindGroup:
		group, instance, named := splitGroup(rest)
		if !named {
			return ev, false
		}
		m := v.groups[group][instance]
		switch {
		case m == nil:
			ev.Kind, ev.Member, ev.Reason = Left, Member{Group: group, Instance: instance}, v.endOf(e)
			if gone, ok := e.value.(*Member); ok {
				ev.Member = *gone
			}
		case m.Token > since:
			ev.Kind, ev.Member = Joined, *m
		default:
			ev.Kind, ev.Member = MemberUpdated, *m
		}
	case kindProperty:
		session, name, named := strings.Cut(rest, ".")
		if !named {
			return ev, false
		}
		p := v.having[name][session]
		ev.Holders = len(v.having[name])
		if p != nil {
			ev.Kind, ev.Property = PropertySet, *p
			break
		}
		ev.Kind, ev.Property, ev.Reason = PropertyGone, Property{Session: session, Key: name}, v.endOf(e)
		if gone, ok := e.value.(*Property); ok {
			ev.Property = *gone
		}
	default:
		return ev, false
	}
	return ev, last.revision > since
}

// lastChange is the entry that changed last what a record is about: the record itself, or the end of the lease that it hangs on.
func (v *view) lastChange(e *entry) *entry {
	if lease := v.endedLease(e); lease != nil && lease.revision > e.revision {
		return lease
	}
	return e
}

// endOf says why what a record was about is gone: as the end of its lease says, or as the record does that is there now.
func (v *view) endOf(e *entry) Reason {
	if lease := v.endedLease(e); lease != nil {
		return lease.why()
	}
	return e.why()
}

// endedLease is the tombstone of a record's lease, or nil.
func (v *view) endedLease(e *entry) *entry {
	if lease := v.records[leaseKey(e.session)]; e.session != "" && lease != nil && lease.ended {
		return lease
	}
	return nil
}
