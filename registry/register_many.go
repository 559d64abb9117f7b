package registry

import (
	"context"
	"errors"

	"github.com/toolbus/toolbus/kvstore"
)

// NameOptions are one name of many.
type NameOptions struct {
	Name string
	RegisterOptions
}

// RegisterMany claims many names in one step: all of them, or none. The registrations are in the order of the names. If one is held by another
// session, none is claimed, and the error is that one's *NameTakenError. Names that the session holds already are as they are. More than
// kvstore.MaxBatch names and memberships together are refused (kvstore.ErrBatchTooLarge) before anything is written; so are as many where Replace takes one from somebody. Their Conflict
// options are FirstWins, or Replace for all of them; their Digest is ignored: each is held alone.
func (s *Session) RegisterMany(ctx context.Context, names []NameOptions) ([]*Registration, error) {
	ctx, cancel := s.r.merge(ctx)
	defer cancel()
	conflict := Replace
	proposals := make([]proposal, len(names))
	for i, n := range names {
		p, err := s.propose(n.Name, &n.RegisterOptions)
		if err != nil {
			return nil, err
		}
		p.opts.Digest = ""
		if proposals[i] = p; p.opts.Conflict != Replace {
			conflict = FirstWins
		}
	}
	if err := s.settled(ctx); err != nil {
		return nil, err
	}
	out := make([]*Registration, len(names))
	var wants []want
	for i, p := range proposals {
		h, isNew, err := s.hold(nameKey(p.name))
		if err != nil {
			s.dropAll(wants, err)
			return nil, err
		}
		if out[i] = (&Registration{h: h, name: p.name}); isNew {
			wants = append(wants, s.wants(p, h)...)
		}
	}
	if len(wants) > kvstore.MaxBatch {
		s.dropAll(wants, kvstore.ErrBatchTooLarge)
		return nil, kvstore.ErrBatchTooLarge
	}
	if len(wants) > 0 {
		if err := s.take(ctx, wants, conflict); err != nil {
			return nil, err
		}
	}
	for i, reg := range out {
		if err := reg.h.wait(ctx); err != nil {
			return nil, err
		}
		if rec := reg.Record(); rec.Instance != proposals[i].opts.Instance {
			return nil, &NameTakenError{Name: rec.Name, Owner: rec}
		}
	}
	return out, nil
}

// RegisterOrLocate claims name, or says who holds it, without a race between the two: registered is nil where somebody else does, and then
// record is his. Other errors as for Register.
func (s *Session) RegisterOrLocate(ctx context.Context, name string, opts *RegisterOptions) (registered *Registration, record Record, err error) {
	reg, err := s.Register(ctx, name, opts)
	if taken, ok := errors.AsType[*NameTakenError](err); ok && taken.Next == nil {
		return nil, taken.Owner, nil
	}
	if err != nil {
		return nil, Record{}, err
	}
	return reg, reg.Record(), nil
}

func (s *Session) dropAll(wants []want, err error) {
	for _, w := range wants {
		if w.h != nil {
			s.drop(w.h, err)
		}
	}
}
