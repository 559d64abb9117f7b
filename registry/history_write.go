package registry

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// This file writes the history: every node does, from its own view, and on a NATS without nodes of ours the keeper. They all write the same lines under the
// same ids, and the store keeps the first of each; so none of them has to know of the others, and none is missed when one dies.

const (
	historyQueue = 1 << 16 // transitions that wait to be written; more, and the writer starts over
	historyBatch = 1024
	historyFlush = time.Second
)

func formatRevision(r kvstore.Revision) string { return strconv.FormatUint(uint64(r), 10) }

// writesHistory tells whether it is this process's turn.
func (r *Registry) writesHistory() bool { return r.role == Node || r.peers == nil || r.keeps() }

// writeHistory writes while it is this process's turn, first with a writer that has heard everything since the registry was opened. It runs until
// the registry is closed.
func (r *Registry) writeHistory(q *historyWriter) {
	var wait backoff
	for r.ctx.Err() == nil {
		if !r.writesHistory() {
			q.close()
			wait.reset()
			pause(r.ctx, r.times().pulse)
			q = nil
			continue
		}
		if q == nil {
			q = newHistoryWriter(r)
		}
		err := r.followHistory(r.ctx, q, &wait)
		q.close()
		q = nil
		if err != nil && r.ctx.Err() == nil {
			r.log.Warn("writing the history", "scope", r.scope, "error", err)
			wait.wait(r.ctx)
		}
	}
}

// errHistoryBehind: too much waits to be written.
var errHistoryBehind = errors.New("registry: the history is too far behind; starting over")

// followHistory writes what happened between the end of the history and now, marked as collapsed, then every transition as the view shows it, until it is
// another's turn, or it cannot go on.
func (r *Registry) followHistory(ctx context.Context, q *historyWriter, wait *backoff) error {
	if err := r.WaitSynced(ctx); err != nil {
		return err
	}
	newest, err := r.history.Newest(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]Transition, len(newest))
	for _, l := range newest {
		if t, ok := transitionOf(l); ok {
			known[t.Name] = t
		}
	}
	q.catchUp(known)
	for {
		list, full := q.next()
		if full {
			return errHistoryBehind
		}
		for len(list) > 0 {
			n := min(len(list), historyBatch)
			if err := r.history.Append(ctx, list[:n]); err != nil {
				if ctx.Err() != nil {
					q.flush(list)
					return nil
				}
				if !errors.Is(err, kvstore.ErrUnavailable) && !errors.Is(err, kvstore.ErrUnknown) && !errors.Is(err, kvstore.ErrBusy) || !wait.wait(ctx) || q.isFull() {
					return err
				}
				continue // the ids make a line that came already count once
			}
			wait.reset()
			list = list[n:]
		}
		timer := time.NewTimer(r.times().pulse)
		select {
		case <-q.ready:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		switch {
		case ctx.Err() != nil:
			q.flush(nil)
			return nil
		case !r.writesHistory():
			return nil
		}
	}
}

// flush writes what is left when the registry is closed, lines first, if that can be done at once: the ends of its own sessions.
func (q *historyWriter) flush(lines []kvstore.Line) {
	rest, _ := q.next()
	lines = append(lines, rest...)
	if len(lines) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), historyFlush)
	defer cancel()
	if err := q.r.history.Append(ctx, lines); err != nil {
		q.r.log.Debug("writing the end of the history", "error", err)
	}
}

// historyWriter holds what waits to be written.
type historyWriter struct {
	r     *Registry
	w     *watcher
	ready chan struct{}

	mu    sync.Mutex
	first map[string]*Record // what the view showed at first, until catchUp has written it
	list  []Transition
	full  bool
}

// newHistoryWriter begins to listen to the view.
func newHistoryWriter(r *Registry) *historyWriter {
	q := &historyWriter{r: r, ready: make(chan struct{}, 1), first: map[string]*Record{}}
	q.w = &watcher{take: q.take}
	for _, ev := range r.view.subscribe(q.w) {
		if ev.Kind == Registered {
			q.mu.Lock()
			q.first[ev.Record.Name] = &ev.Record
			q.mu.Unlock()
		}
	}
	return q
}

// close ends the listening.
func (q *historyWriter) close() {
	if q != nil {
		q.r.view.unsubscribe(q.w)
	}
}

func (q *historyWriter) next() (lines []kvstore.Line, full bool) {
	q.mu.Lock()
	list := q.list
	q.list, full = nil, q.full
	q.mu.Unlock()
	for _, t := range list {
		lines = append(lines, t.line())
	}
	return lines, full
}

func (q *historyWriter) isFull() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.full
}

func (q *historyWriter) add(t Transition) {
	t = q.signed(t)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) >= historyQueue {
		q.list, q.full = nil, true
	}
	if !q.full {
		q.list = append(q.list, t)
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *historyWriter) signed(t Transition) Transition {
	t.By, t.V = q.r.node, recordVersion
	if t.At.IsZero() {
		t.At = q.r.clock.Wall()
	}
	t.At, t.Since = t.At.UTC(), t.Since.UTC()
	return t
}

// take takes in an event. It runs under the view's lock, right after the view has changed.
func (q *historyWriter) take(ev Event) {
	switch ev.Kind {
	case Registered:
		if q.r.view.loading { // the first snapshot: what was there before this process looked
			q.mu.Lock()
			q.first[ev.Record.Name] = &ev.Record
			q.mu.Unlock()
			return
		}
		q.add(q.registered(&ev.Record, ev.Collapsed))
	case Unregistered:
		q.add(q.unregistered(transition(Unregistered, &ev.Record), ev.Reason, ev.Collapsed))
	}
}

func transition(kind EventKind, rec *Record) Transition {
	return Transition{Kind: kind, Name: rec.Name, Node: rec.Node, Session: rec.Session, Instance: rec.Instance, Token: rec.Token, Since: rec.Since}
}

func (q *historyWriter) registered(rec *Record, collapsed bool) Transition {
	t := transition(Registered, rec)
	t.Revision, t.At, t.Collapsed = rec.Token, q.r.view.claimed(rec), collapsed
	return t
}

// unregistered makes the end of a tenure, by the entry that ended it, where that is still there.
func (q *historyWriter) unregistered(t Transition, reason Reason, collapsed bool) Transition {
	v := q.r.view
	t.Kind, t.Reason, t.Collapsed = Unregistered, reason, collapsed
	t.Revision, t.At = v.revision, time.Time{}
	if e := v.ender(t.Name, t.Session, t.Token); e != nil {
		t.Revision, t.At = e.revision, e.when()
		if reason == ReasonUnseen {
			t.Reason = e.why()
		}
	}
	return t
}

// catchUp puts before all else what is not in the history of what the view showed. The history was read after that, so others may have written more
// of it than was shown: what is news to this writer too is left to the news.
func (q *historyWriter) catchUp(known map[string]Transition) {
	q.r.view.mu.RLock()
	defer q.r.view.mu.RUnlock()
	var list []Transition
	news := map[tenure]bool{}
	q.mu.Lock()
	defer q.mu.Unlock()
	held := q.first
	q.first = nil
	for _, t := range q.list {
		news[tenure{t.Name, t.Token}] = true
	}
	for name, last := range known {
		if now := held[name]; last.Kind == Registered && (now == nil || now.Token != last.Token) &&
			last.Revision <= q.r.view.revision && !news[tenure{name, last.Token}] {
			list = append(list, q.signed(q.unregistered(last, ReasonUnseen, true)))
		}
	}
	for name, now := range held {
		if last := known[name]; last.Revision < now.Token || last.Revision == now.Token && last.Kind != Registered {
			list = append(list, q.signed(q.registered(now, true)))
		}
	}
	q.list = append(list, q.list...)
}
