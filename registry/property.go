package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// Property is one thing that a session says of itself, as the view shows it. Many sessions may have the same key, each with a value of its own.
type Property struct {
	Session  string           `json:"session"`
	Node     string           `json:"node"`
	Key      string           `json:"key"`
	Value    string           `json:"value"`
	Revision kvstore.Revision `json:"revision"`
}

type propertyRecord struct {
	Property
	Writer string `json:"writer"`
	V      int    `json:"v"`
}

// ParseKey checks the key of a property or a counter, folds upper case and returns it. A key is one label, as in a name: it is one token of the
// record's own key, so it has no dots. The error is a *NameError (ErrBadName).
func ParseKey(key string) (string, error) {
	folded, why := foldName(key, 1)
	if why != "" {
		return "", &NameError{Name: key, Why: why}
	}
	return folded, nil
}

// SetProperty gives the session a property, or a new value to one that it has. It is gone with the session, at the same instant as all that the session holds.
// It returns when this process's view shows it. Changes of one property by one session are made one after the other.
//
// Errors: ErrBadName, ErrSessionEnded, ErrUnavailable, kvstore.ErrTooLarge for a value of more than about half a MiB, ErrUnknown when ctx ended before the
// outcome was known: a property that is new is then removed should it come after all, another may have the new value or get it still.
func (s *Session) SetProperty(ctx context.Context, key, value string) error {
	key, err := ParseKey(key)
	if err != nil {
		return err
	}
	ctx, cancel := s.r.merge(ctx)
	defer cancel()
	h, done, err := s.holdProperty(ctx, key)
	if err != nil {
		return closedOr(err, s.r)
	}
	defer done()
	if err := s.writeProperty(ctx, h, key, value); err != nil {
		if !h.given.Load() {
			s.drop(h, err)
		}
		return closedOr(err, s.r)
	}
	if !h.given.Load() {
		h.got()
	}
	return h.error()
}

// holdProperty waits until nobody else sets the property, and returns what ends the turn.
func (s *Session) holdProperty(ctx context.Context, key string) (h *holding, done func(), err error) {
	for {
		if h, _, err = s.hold(propertyKey(s.id, key)); err != nil {
			return nil, nil, err
		}
		if done, err = h.takeTurn(ctx); err != nil || h.error() == nil {
			return h, done, err
		}
		done() // it was given up meanwhile: the next is another
	}
}

func (s *Session) writeProperty(ctx context.Context, h *holding, key, value string) error {
	r := s.r
	var wait backoff
	tried := map[string]bool{} // our own writes: one whose answer was lost may have come
	for {
		if err := h.error(); err != nil {
			return err
		}
		judged, _ := r.view.claim(h.key)
		if judged.held != nil && tried[judged.held.writer] {
			return nil
		}
		writer := nuid.Next()
		tried[writer] = true
		record := propertyRecord{Property: Property{Session: s.id, Node: r.node, Key: key, Value: value}, Writer: writer, V: recordVersion}
		revision, err := r.write(ctx, []kvstore.Op{{Key: h.key, Value: encode(record), Revision: judged.expect}})
		if err == nil {
			return r.WaitFor(ctx, revision)
		}
		if !r.settle(ctx, err, &wait) {
			return err
		}
	}
}

// takeTurn waits until nobody else changes the record, and returns what ends the turn.
func (h *holding) takeTurn(ctx context.Context) (done func(), err error) {
	h.mu.Lock()
	if h.turn == nil {
		h.turn = make(chan struct{}, 1)
	}
	turn := h.turn
	h.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// DeleteProperty takes a property off the session. Deleting one that it does not have does nothing.
func (s *Session) DeleteProperty(ctx context.Context, key string) error {
	key, err := ParseKey(key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	h := s.holds[propertyKey(s.id, key)]
	err = s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if h == nil {
		return nil
	}
	return s.release(ctx, []*holding{h}, ReasonUnregistered, ErrUnregistered)
}

// Property reads one property of a session: ErrNotFound if it has none of that key, or is not alive.
func (r *Registry) Property(session, key string) (string, error) {
	key, err := ParseKey(key)
	if err != nil {
		return "", err
	}
	r.view.mu.RLock()
	defer r.view.mu.RUnlock()
	if p := r.view.props[session][key]; p != nil {
		return p.Value, nil
	}
	return "", ErrNotFound
}

// Properties reads all properties of a session by key. It is empty for one that is not alive.
func (r *Registry) Properties(session string) map[string]string { return r.view.propertiesOf(session) }

// FindProperty lists the property of that key of every living session that has one, sorted by session; empty if none has.
func (r *Registry) FindProperty(key string) ([]Property, error) { return r.view.findProperty(key) }

// CountProperty says how many living sessions have a property of that key.
func (r *Registry) CountProperty(key string) (int, error) {
	key, err := ParseKey(key)
	if err != nil {
		return 0, err
	}
	r.view.mu.RLock()
	defer r.view.mu.RUnlock()
	return len(r.view.having[key]), nil
}

// AwaitNone waits until no living session has a property of that key, and returns at once where none has: what counts a resource by its holders acts here
// when the last has gone, however he went. Another may have taken it up by the time it returns. Errors: ErrBadName, ErrClosed, the context's.
func (r *Registry) AwaitNone(ctx context.Context, key string) error {
	key, err := ParseKey(key)
	if err != nil {
		return err
	}
	for {
		holders := 0
		for ev, err := range r.Watch(ctx, &WatchOptions{Property: key}) {
			if err == ErrLagged {
				break
			}
			if err != nil {
				return err
			}
			switch ev.Kind {
			case PropertySet, PropertyGone:
				if holders = ev.Holders; ev.Kind == PropertyGone && holders == 0 {
					return nil
				}
			case Synced:
				if holders == 0 {
					return nil
				}
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Properties and FindProperty read as those of Registry do.
func (s *Snapshot) Properties(session string) map[string]string { return s.v.propertiesOf(session) }

// FindProperty lists the property of that key of every living session, sorted by session.
func (s *Snapshot) FindProperty(key string) ([]Property, error) { return s.v.findProperty(key) }

func (v *view) propertiesOf(session string) map[string]string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make(map[string]string, len(v.props[session]))
	for key, p := range v.props[session] {
		out[key] = p.Value
	}
	return out
}

func (v *view) findProperty(key string) ([]Property, error) {
	key, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]Property, 0, len(v.having[key]))
	for _, session := range slices.Sorted(maps.Keys(v.having[key])) {
		out = append(out, *v.having[key][session])
	}
	return out, nil
}

func (v *view) judgeProperty(session, name, key string, reason Reason, collapsed bool) {
	var now *Property
	if e := v.records[key]; v.records.visible(e) {
		now = e.value.(*Property)
	}
	was := v.props[session][name]
	switch {
	case was == now:
		return
	case now != nil:
		link(v.props, session, name, now)
		link(v.having, name, session, now)
		v.tell(Event{Kind: PropertySet, Property: *now, Holders: len(v.having[name]), Collapsed: collapsed})
	default:
		unlink(v.props, session, name)
		unlink(v.having, name, session)
		if reason == "" {
			reason = ReasonReplaced
		}
		v.fire(key, reason)
		v.tell(Event{Kind: PropertyGone, Property: *was, Holders: len(v.having[name]), Reason: reason, Collapsed: collapsed})
	}
}

// decodeProperty reads what is under properties.<session>.<key>.
func (e *entry) decodeProperty(rest string, value []byte) error {
	var rec propertyRecord
	session, key, ok := strings.Cut(rest, ".")
	if err := json.Unmarshal(value, &rec); err != nil {
		return err
	}
	if folded, err := ParseKey(key); !ok || err != nil || folded != key || rec.Session != session || rec.Key != key || session == "" {
		return fmt.Errorf("it names %q of session %q", rec.Key, rec.Session)
	}
	rec.Revision = e.revision
	e.session, e.writer, e.value = rec.Session, rec.Writer, &rec.Property
	return nil
}
