package registry

import (
	"context"
	"maps"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// Member is the membership as it was last applied.
func (m *Membership) Member() Member {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	if member, ok := m.h.value.(*Member); ok {
		return *member
	}
	return Member{Group: m.group}
}

// Update changes the metadata of the membership, as one write: the member is never absent, and keeps its place among the others. change gets a copy to alter; it
// may be called more than once. What a later version said of the member stays. Errors: those of Err, ErrUnavailable, ErrUnknown.
func (m *Membership) Update(ctx context.Context, change func(metadata map[string]string)) error {
	s := m.h.session
	ctx, cancel := s.r.merge(ctx)
	defer cancel()
	var wait backoff
	tried := map[string]bool{} // our own writes: one whose answer was lost must not be done again on top of itself
	for {
		if err := m.Err(); err != nil {
			return err
		}
		e := s.r.view.newest(m.h.key)
		if e == nil || e.session != s.id {
			return ErrLost
		}
		if tried[e.writer] {
			return nil
		}
		rec := groupRecord{Member: *e.value.(*Member), Writer: nuid.Next(), V: recordVersion, later: e.later}
		if e.later != nil {
			rec.V = max(rec.V, e.later.version)
		}
		rec.Metadata = maps.Clone(rec.Metadata)
		if rec.Metadata == nil {
			rec.Metadata = map[string]string{}
		}
		change(rec.Metadata)
		tried[rec.Writer] = true
		revision, err := s.r.write(ctx, []kvstore.Op{{Key: e.key, Value: encode(rec), Revision: e.revision}})
		if err == nil {
			return s.r.WaitFor(ctx, revision)
		}
		if !s.r.settle(ctx, err, &wait) {
			return closedOr(err, s.r)
		}
	}
}
