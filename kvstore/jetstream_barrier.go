package kvstore

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"
)

// barrier lets many callers share one write: all who arrive while one is in flight wait for the next, since that one
// begins after their call did. It needs no goroutine: one of the waiters does the write for all.
type barrier struct {
	key  string
	turn chan struct{} // held by who writes
	mu   sync.Mutex
	next *barrierRound
}

type barrierRound struct {
	done chan struct{}
	rev  Revision
	err  error
}

func (b *barrier) init(key string) {
	b.key = key
	b.turn = make(chan struct{}, 1)
}

// join returns the round that has not begun yet.
func (b *barrier) join() *barrierRound {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = &barrierRound{done: make(chan struct{})}
	}
	return b.next
}

// begin takes a round, so that later callers join another; false if it was taken already.
func (b *barrier) begin(r *barrierRound) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != r {
		return false
	}
	b.next = nil
	return true
}

// Barrier implements Store. The entry is written under a key of this store's own, kept for BarrierTTL.
func (s *JetStream) Barrier(ctx context.Context) (Revision, error) {
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	b := &s.barrier
	for {
		r := b.join()
		select {
		case <-r.done:
		case b.turn <- struct{}{}:
			if b.begin(r) {
				r.rev, r.err = s.writeBarrier(ctx, true)
				close(r.done)
			}
			<-b.turn
			<-r.done // taken by another turn, it has ended before this one
		case <-ctx.Done():
			return 0, waitError(ctx, nil)
		}
		// A round fails when the context of the caller who wrote it ends; the others try again. Writing one too many does no harm.
		if r.err == nil || ctx.Err() != nil || !passing(r.err) && !unknown(r.err) {
			return r.rev, r.err
		}
	}
}

// writeBarrier makes the log if it is not there and create is set; else that is errNoStream.
func (s *JetStream) writeBarrier(ctx context.Context, create bool) (Revision, error) {
	return s.send(ctx, create, func(ctx context.Context) (Revision, error) {
		msg := &nats.Msg{Subject: s.names.keys + s.barrier.key, Data: []byte("{}"), Header: nats.Header{}}
		setTTL(msg, BarrierTTL)
		return s.publish(ctx, msg)
	})
}
