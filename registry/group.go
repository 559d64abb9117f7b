package registry

import (
	"context"
	"time"

	"github.com/nats-io/nuid"
)

// JoinOptions are what a member says about itself; nil says nothing.
type JoinOptions struct {
	Instance string            // the hosted server; "" is the session itself
	Metadata map[string]string // shown with the membership
}

// Membership is a place in a group that a session holds for an instance. Its methods may be called concurrently.
type Membership struct {
	h     *holding
	group string
}

// Join adds an instance of the session to a group. An instance may be in many groups, and in each once: joining again is ok and changes
// nothing. Errors as for Register, but for ErrNameTaken: another session has a member of that very id.
func (s *Session) Join(ctx context.Context, group string, opts *JoinOptions) (*Membership, error) {
	var o JoinOptions
	if opts != nil {
		o = *opts
	}
	group, err := ParseName(group)
	if err != nil {
		return nil, err
	}
	if o.Instance == "" {
		o.Instance = s.id
	}
	if err := checkInstance(o.Instance); err != nil {
		return nil, err
	}
	ctx, cancel := s.r.merge(ctx)
	defer cancel()
	h, isNew, err := s.hold(groupKey(group, o.Instance))
	if err != nil {
		return nil, err
	}
	if isNew {
		name := ""
		if rec, err := s.r.Instance(o.Instance); err == nil {
			name = rec.Name
		}
		value := s.memberValue(group, o.Instance, name, s.r.clock.Wall().UTC(), o.Metadata)
		if err := s.take(ctx, []want{{h: h, value: value}}, FirstWins); err != nil {
			return nil, err
		}
	}
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return &Membership{h: h, group: group}, nil
}

// memberValue makes the record of a membership.
func (s *Session) memberValue(group, instance, name string, since time.Time, metadata map[string]string) func(*entry) []byte {
	return func(*entry) []byte {
		return encode(groupRecord{Member: Member{
			Group: group, Name: name, Node: s.r.node, Session: s.id, Instance: instance, Since: since, Metadata: metadata,
		}, Writer: nuid.Next(), V: recordVersion})
	}
}

// Group is the group's name.
func (m *Membership) Group() string { return m.group }

// Done is closed when the membership has ended.
func (m *Membership) Done() <-chan struct{} { return m.h.done }

// Err is nil while it lasts, then ErrUnregistered, ErrLost or ErrSessionEnded.
func (m *Membership) Err() error { return m.h.error() }

// Leave ends the membership. Leaving again does nothing.
func (m *Membership) Leave(ctx context.Context) error {
	if m.Err() != nil {
		return nil
	}
	return m.h.session.release(ctx, []*holding{m.h}, ReasonLeft, ErrUnregistered)
}

// leave takes an instance of the session out of a group.
func (s *Session) leave(ctx context.Context, group, instance string) error {
	group, err := ParseName(group)
	if err != nil {
		return err
	}
	s.mu.Lock()
	h := s.holds[groupKey(group, instance)]
	s.mu.Unlock()
	if h == nil {
		return nil
	}
	return s.release(ctx, []*holding{h}, ReasonLeft, ErrUnregistered)
}
