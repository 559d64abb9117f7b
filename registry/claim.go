package registry

import (
	"context"
	"errors"

	"github.com/toolbus/toolbus/kvstore"
)

// want is one record that a claim writes, or, of a standby that is elected, removes.
type want struct {
	h      *holding
	key    string                   // of a record that no holding stands for: that of a shared name
	digest string                   // of a shared name: one that is held by another of this digest is as it should be
	joins  bool                     // a replica is written with it
	value  func(over *entry) []byte // given what the judge saw there
	remove bool
}

func (w want) at() string {
	if w.h != nil {
		return w.h.key
	}
	return w.key
}

// claim writes records for the session, all or none, and returns when the view shows the outcome. What somebody else holds is decided by
// the conflict policy: FirstWins waits until it is clear that the holder lives, and fails with *NameTakenError. What a Replace takes from one who lives
// is written in one batch with the session's own lease: a late write of a session that has died takes nothing.
func (s *Session) claim(ctx context.Context, wants []want, conflict Conflict) error {
	r := s.r
	var wait backoff
	aims := aims{}
	for {
		if err := s.Err(); err != nil {
			return err
		}
		if err := withdrawn(wants); err != nil {
			return err
		}
		ops, robbed, blocked := s.plan(wants, conflict)
		if blocked.held != nil || blocked.heir != nil {
			if err := r.standing(ctx, blocked, conflict); err != nil {
				return err
			}
			continue
		}
		if other := aims.missed(robbed); other != nil {
			return takenError(claim{held: other})
		}
		if len(ops) == 0 {
			return nil
		}
		last, err := s.writeClaim(ctx, ops, len(robbed) > 0)
		if err == nil {
			return r.WaitFor(ctx, last)
		}
		if errors.Is(err, kvstore.ErrUnknown) {
			aims.sent(ops, robbed)
		}
		if !r.settle(ctx, err, &wait) {
			return err
		}
		if errors.Is(err, kvstore.ErrUnknown) && s.came(wants) {
			return nil
		}
	}
}

// plan makes the writes of a claim from what the judge says now, and says what they take from others who live, or what is in the way.
func (s *Session) plan(wants []want, conflict Conflict) (ops []kvstore.Op, robbed []*entry, blocked claim) {
	ops = make([]kvstore.Op, 0, len(wants))
	for _, w := range wants {
		judged, _ := s.r.view.claim(w.at())
		held, named := recordOf(judged.held)
		if named && w.digest != "" && held.Digest == w.digest {
			switch {
			case judged.held.session == s.id && judged.over.session != s.id: // it is ours to take over
				ops = append(ops, kvstore.Op{Key: w.at(), Value: w.value(judged.held), Revision: judged.expect})
			case w.joins: // as it is: who would remove it has not seen this replica, and must find that it has moved
				ops = append(ops, kvstore.Op{Key: w.at(), Value: encode(judged.over.rewritten(nil)), Revision: judged.expect})
			}
			continue
		}
		if w.remove {
			if judged.held != nil && judged.held.session == s.id {
				ops = append(ops, kvstore.Op{Key: w.at(), Value: s.r.tombstone(ReasonElected), Revision: judged.expect, Delete: true})
			}
			continue
		}
		foreign := judged.held != nil && (judged.held.session != s.id || named && held.Digest != w.digest) // shared with others, or not
		switch {
		case foreign && (conflict != Replace || s.r.strict(judged.held.session)),
			judged.heir != nil && conflict != Replace && !electing(wants, judged.heir):
			return nil, nil, judged
		}
		if foreign {
			robbed = append(robbed, judged.held)
		}
		ops = append(ops, kvstore.Op{Key: w.at(), Value: w.value(judged.held), Revision: judged.expect})
	}
	return ops, robbed, claim{}
}

// withdrawn says why the place that an election would remove is not the session's any more: who has left the queue does not claim.
func withdrawn(wants []want) error {
	for _, w := range wants {
		if w.remove && w.h.error() != nil {
			return w.h.error()
		}
	}
	return nil
}

// electing tells whether a claim is that of the heir itself: it removes its own place in the queue.
func electing(wants []want, heir *entry) bool {
	for _, w := range wants {
		if w.remove && w.at() == heir.key && heir.session == w.h.session.id {
			return true
		}
	}
	return false
}

// strict tells whether a session is one that only silence or its owner ends.
func (r *Registry) strict(session string) bool {
	lease, ok := r.view.lease(session)
	return ok && lease.Mode == Strict
}

// came tells whether the view shows every record of a claim as the session's own: a write whose answer was lost had come.
func (s *Session) came(wants []want) bool {
	for _, w := range wants {
		if e := s.r.view.newest(w.at()); !w.remove && w.digest == "" && (e == nil || e.session != s.id) {
			return false
		}
	}
	return true
}
