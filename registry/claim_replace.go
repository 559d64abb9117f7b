package registry

import (
	"context"
	"errors"

	"github.com/toolbus/toolbus/kvstore"
)

// A Replace takes a name from an owner who lives, so that more depends on its write than on that of a claim of what is free. Late, when its session has died,
// it would take the name and hold nothing. And tried again after an outcome that was unknown, it could take the name from a third: one who
// came after the first write had been done, and had taken it from this very session.

// writeClaim writes a claim, and with it, where it takes something from others, the session's lease.
func (s *Session) writeClaim(ctx context.Context, ops []kvstore.Op, robs bool) (kvstore.Revision, error) {
	if !robs {
		return s.r.write(ctx, ops)
	}
	if len(ops) == kvstore.MaxBatch {
		return 0, kvstore.ErrBatchTooLarge
	}
	lease, number, err := s.guard()
	if err != nil {
		return 0, err
	}
	last, err := s.r.write(ctx, append([]kvstore.Op{lease}, ops...))
	if err != nil && !errors.Is(err, kvstore.ErrUnknown) {
		s.mu.Lock()
		delete(s.attempts, number)
		s.mu.Unlock()
	}
	return last, err
}

// guard is a refresh of the lease, for a batch that is to be refused when the session has ended.
func (s *Session) guard() (op kvstore.Op, number uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return op, 0, s.err
	case s.ending:
		return op, 0, &SessionEndedError{Session: s.id, Reason: ReasonClosed}
	case elapsed(s.r.clock, s.written) > leaseOld: // as in refresh
		s.r.spawn(s.abandon)
		return op, 0, &SessionEndedError{Session: s.id, Reason: ReasonLeaseAge}
	}
	number = s.attemptLocked()
	value := encode(leaseRecord{Lease: s.lease, V: recordVersion})
	return kvstore.Op{Key: leaseKey(s.id), Value: value, Revision: s.revision, TTL: leaseTTL}, number, nil
}

// aim is one owner's time with a key.
type aim struct {
	session string
	token   kvstore.Revision
}

func aimAt(held *entry) aim {
	t := aim{session: held.session, token: held.revision}
	switch v := held.value.(type) {
	case *Record:
		t.token = v.Token
	case *Member:
		t.token = v.Token
	}
	return t
}

// aims are whom the writes of a claim whose outcome is unknown were to take their keys from: nobody, where that is zero.
type aims map[string]aim

// sent takes in such a write. It was aimed at the same as those before it.
func (a aims) sent(ops []kvstore.Op, robbed []*entry) {
	for _, op := range ops {
		if _, is := a[op.Key]; !is {
			a[op.Key] = aim{}
		}
	}
	for _, held := range robbed {
		a[held.key] = aimAt(held)
	}
}

// missed returns a holder of whom the writes before knew nothing: theirs may have been done, and he may have come after them.
func (a aims) missed(robbed []*entry) *entry {
	for _, held := range robbed {
		if at, sent := a[held.key]; sent && at != aimAt(held) {
			return held
		}
	}
	return nil
}
