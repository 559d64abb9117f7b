package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Transition is one line of a scope's history: a name got an owner, or lost one. What an owner changes about a name that he keeps is not in it.
type Transition struct {
	Kind      EventKind        `json:"kind"` // Registered or Unregistered
	Name      string           `json:"name"`
	Node      string           `json:"node"`
	Session   string           `json:"session"`
	Instance  string           `json:"instance"`
	Token     kvstore.Revision `json:"token"`
	Since     time.Time        `json:"since"`            // the owner's clock
	Revision  kvstore.Revision `json:"revision"`         // of the entry that did it
	At        time.Time        `json:"at"`               // when the store took that entry
	Reason    Reason           `json:"reason,omitempty"` // why it ended
	Collapsed bool             `json:"collapsed,omitempty"`
	By        string           `json:"by"` // the node that wrote this line
	V         int              `json:"v"`
}

// line makes the history's line. Everybody who sees the same entry gives it the same id. One entry may end one tenure and begin the next.
func (t Transition) line() kvstore.Line {
	kind := "r"
	if t.Kind == Unregistered {
		kind = "u"
	}
	return kvstore.Line{Key: t.Name, ID: t.Name + "." + formatRevision(t.Revision) + "." + kind, Value: encode(t)}
}

// transitionOf reads a line; false for what is none, or of a later kind.
func transitionOf(l kvstore.Line) (t Transition, ok bool) {
	err := json.Unmarshal(l.Value, &t)
	return t, err == nil && t.Name == l.Key && (t.Kind == Registered || t.Kind == Unregistered)
}

// ReasonUnseen is why a tenure ended of which nobody knows: no process that writes the history was there.
const ReasonUnseen Reason = "unseen"

// Interval is one owner's time with a name.
type Interval struct {
	Name     string           `json:"name"`
	Node     string           `json:"node"`
	Session  string           `json:"session"`
	Instance string           `json:"instance"`
	Token    kvstore.Revision `json:"token"`
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to,omitzero"` // zero: he holds it still (Held), or nobody saw its end (Reason says so)
	Held     bool             `json:"held,omitempty"`
	Reason   Reason           `json:"reason,omitempty"`
	// Collapsed: whoever wrote this down had a gap here. Others may have held the name between, and the times are those by which it was so.
	Collapsed bool `json:"collapsed,omitempty"`
}

// Past is what a history tells.
type Past struct {
	Intervals []Interval
	// Since is after when nothing is missing, but for what is marked as collapsed. Before it the history does not reach: it has not begun, or
	// what was older was dropped. Zero: nobody has written one.
	Since time.Time
}

// History tells who held a name, the oldest first, as far as the scope's history reaches; who holds it now is the last. It is for people: it lags
// behind the view by some milliseconds, and its times are the store's clock. Errors: ErrBadName, ErrNoHistory, those of the store.
func (r *Registry) History(ctx context.Context, name string) (Past, error) {
	if r.history == nil {
		return Past{}, ErrNoHistory
	}
	ctx, cancel := r.merge(ctx)
	defer cancel()
	p, err := r.view.history(ctx, r.history, name)
	return p, closedOr(err, r)
}

// At tells who held which name at a time, sorted by name: what is held now, with all that the history says happened since taken back. Where Past.Since is
// later than the time, it is only what is known of it.
func (r *Registry) At(ctx context.Context, t time.Time) (Past, error) {
	if r.history == nil {
		return Past{}, ErrNoHistory
	}
	ctx, cancel := r.merge(ctx)
	defer cancel()
	p, err := r.view.past(ctx, r.history, t)
	return p, closedOr(err, r)
}

// History is Registry.History, for who follows no log.
func (s *Snapshot) History(ctx context.Context, h kvstore.History, name string) (Past, error) {
	return s.v.history(ctx, h, name)
}

// At is Registry.At, for who follows no log.
func (s *Snapshot) At(ctx context.Context, h kvstore.History, t time.Time) (Past, error) {
	return s.v.past(ctx, h, t)
}

func (v *view) history(ctx context.Context, h kvstore.History, name string) (Past, error) {
	name, err := ParseName(name)
	if err != nil {
		return Past{}, err
	}
	p, err := begun(ctx, h)
	if err != nil {
		return p, err
	}
	ts := tenures{}
	for l, err := range h.Read(ctx, name, time.Time{}) {
		if err != nil {
			return p, err
		}
		ts.take(l)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if now := v.names.find(name); now != nil {
		ts.now(*now, v.claimed(now))
	}
	v.complete(ts)
	p.Intervals = ts.list()
	return p, nil
}

// slack is how much later than what it tells a line may be stored, with all that two servers' clocks differ.
const slack = 5 * time.Minute

func (v *view) past(ctx context.Context, h kvstore.History, t time.Time) (Past, error) {
	p, err := begun(ctx, h)
	if err != nil {
		return p, err
	}
	ts := tenures{}
	for l, err := range h.Read(ctx, "", t.Add(-slack)) {
		if err != nil {
			return p, err
		}
		ts.take(l)
	}
	v.mu.RLock()
	for _, now := range v.names.all() {
		ts.now(*now, v.claimed(now))
	}
	v.complete(ts)
	v.mu.RUnlock()
	for _, in := range ts.list() {
		// A tenure of which only the end was read began before what was read, unless nobody wrote its beginning down.
		if !in.From.After(t) && (in.Held || in.To.After(t)) {
			p.Intervals = append(p.Intervals, in)
		}
	}
	slices.SortStableFunc(p.Intervals, func(a, b Interval) int { return cmp.Compare(a.Name, b.Name) })
	return p, nil
}

// complete says of tenures that have ended, as the view shows, but of whose end the history has no line yet, how they did, as far as the view knows.
func (v *view) complete(ts tenures) {
	for _, in := range ts {
		if !in.To.IsZero() || in.Held {
			continue
		}
		in.Reason = ReasonUnseen
		if e := v.ender(in.Name, in.Session, in.Token); e != nil {
			in.To, in.Reason = e.when(), e.why()
		}
	}
}

// begun asks how far a history reaches.
func begun(ctx context.Context, h kvstore.History) (p Past, err error) {
	since, ok, err := h.Since(ctx)
	if ok {
		p.Since = since
	}
	return p, err
}

// tenures are the intervals of names, by name and token: a token is one owner's, so the order of lines, and lines that were written twice, do not matter.
type tenures map[tenure]*known

type tenure struct {
	name  string
	token kvstore.Revision
}

// known is what is known of one tenure.
type known struct {
	Interval
	since time.Time // by the owner's clock, where nobody wrote its beginning down
}

func (ts tenures) get(name string, token kvstore.Revision) *known {
	in := ts[tenure{name, token}]
	if in == nil {
		in = &known{Interval: Interval{Name: name, Token: token}}
		ts[tenure{name, token}] = in
	}
	return in
}

// take takes in a line.
func (ts tenures) take(l kvstore.Line) {
	t, ok := transitionOf(l)
	if !ok {
		return
	}
	in := ts.get(t.Name, t.Token)
	in.Node, in.Session, in.Instance, in.since = t.Node, t.Session, t.Instance, t.Since
	in.Collapsed = in.Collapsed || t.Collapsed
	switch {
	case t.Kind == Registered && (in.From.IsZero() || t.At.Before(in.From)):
		in.From = t.At
	case t.Kind == Unregistered && (in.To.IsZero() || t.At.Before(in.To)):
		in.To, in.Reason = t.At, t.Reason
	}
}

// now takes in who holds a name.
func (ts tenures) now(rec Record, claimed time.Time) {
	in := ts.get(rec.Name, rec.Token)
	in.Node, in.Session, in.Instance = rec.Node, rec.Session, rec.Instance
	in.Held, in.To, in.Reason = true, time.Time{}, ""
	if in.From.IsZero() {
		in.From = claimed
	}
}

// list gives the intervals, the oldest token first.
func (ts tenures) list() []Interval {
	out := make([]Interval, 0, len(ts))
	for _, in := range ts {
		if in.From.IsZero() {
			in.From = in.since
		}
		out = append(out, in.Interval)
	}
	slices.SortFunc(out, func(a, b Interval) int { return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Name, b.Name)) })
	return out
}

// claimed is when the store took a claim; by the owner's clock, where he has written the record again since.
func (v *view) claimed(rec *Record) time.Time {
	if e := v.records[nameKey(rec.Name)]; e != nil && rec.Revision == rec.Token && e.revision == rec.Revision && !e.when().IsZero() {
		return e.when()
	}
	return rec.Since
}

// ender is the entry that ended a session's tenure of a name: the end of its lease, or what stands in the name's place, whichever was first; nil
// where neither is there any more.
func (v *view) ender(name, session string, token kvstore.Revision) *entry {
	var out *entry
	if e := v.records[leaseKey(session)]; e != nil && e.ended {
		out = e
	}
	if e := v.records[nameKey(name)]; e != nil && e.revision > token && (e.ended || e.session != session || tokenOf(e) != token) && (out == nil || e.revision < out.revision) {
		out = e
	}
	return out
}

func tokenOf(e *entry) kvstore.Revision {
	if rec, ok := e.value.(*Record); ok {
		return rec.Token
	}
	return 0
}

// when is the time at which the store took an entry; zero where it did not say.
func (e *entry) when() time.Time {
	if e.stored <= 0 {
		return time.Time{}
	}
	return time.Unix(0, e.stored).UTC()
}

// why is the reason that an entry gives for the end of what was there before.
func (e *entry) why() Reason { return cmp.Or(e.reason, ReasonReplaced) }
