package registrytest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Store is one process's way to the log, which can fail as networks and servers do. Its methods may be called concurrently.
type Store struct {
	inner kvstore.Store

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when anything below changes
	fate    func(ops []kvstore.Op) Fate
	frozen  bool
	cut     bool
	delay   time.Duration
	gaps    int // how often the feed has lost something
}

var _ kvstore.Store = (*Store)(nil)

// NewStore makes a way to inner that works.
func NewStore(inner kvstore.Store) *Store {
	return &Store{inner: inner, changed: make(chan struct{})}
}

// Fate is what becomes of one write. The zero Fate does it.
type Fate struct {
	Err     error         // it is refused with this error, and not done
	Delay   time.Duration // it takes so long to reach the log; nothing is sent if its context ends before
	Lost    bool          // it never reaches the log, and nobody answers: ErrUnknown, at once
	Unheard bool          // it is done, but its answer is lost: ErrUnknown
	Late    time.Duration // ErrUnknown at once, and it reaches the log so much later
	Hang    bool          // it never reaches the log, and nobody answers until its context ends: ErrUnknown

	Until <-chan struct{} // ErrUnknown at once, and it reaches the log when this is closed
	Then  func(error)     // of Unheard and Until: is called with what became of it in the log, before anybody hears of it
}

// OnWrite has each write's fate decided. A single write is given as one op, a barrier as none. nil does them all.
func (s *Store) OnWrite(fate func(ops []kvstore.Op) Fate) { s.set(func() { s.fate = fate }) }

// Cut takes the log away: everything fails with ErrUnavailable and the feed is silent. What happens meanwhile is lost to the feed, which goes on
// with a snapshot after Restore.
func (s *Store) Cut() { s.set(func() { s.cut = true }) }

// Restore ends Cut.
func (s *Store) Restore() { s.set(func() { s.cut = false; s.gaps++ }) }

// Freeze stops everything: calls wait for Thaw, and so does the feed, which then goes on where it was.
func (s *Store) Freeze() { s.set(func() { s.frozen = true }) }

// Thaw ends Freeze.
func (s *Store) Thaw() { s.set(func() { s.frozen = false }) }

// DelayFeed has each step of the feed arrive so much later. Writes are as quick as before.
func (s *Store) DelayFeed(d time.Duration) { s.set(func() { s.delay = d }) }

// Gap makes the feed lose what is on its way: it goes on with a snapshot.
func (s *Store) Gap() { s.set(func() { s.gaps++ }) }

func (s *Store) set(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.changed)
	s.changed = make(chan struct{})
}

// pass waits while the process is frozen, then says whether the log can be reached.
func (s *Store) pass(ctx context.Context) error {
	for {
		s.mu.Lock()
		frozen, cut, changed := s.frozen, s.cut, s.changed
		s.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: nothing sent: %w", kvstore.ErrUnavailable, ctx.Err())
		case !frozen && cut:
			return fmt.Errorf("%w: cut off", kvstore.ErrUnavailable)
		case !frozen:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// write does one write with the fate that it meets.
func (s *Store) write(ctx context.Context, ops []kvstore.Op, do func(context.Context) (kvstore.Revision, error)) (kvstore.Revision, error) {
	if err := s.pass(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	decide := s.fate
	s.mu.Unlock()
	var fate Fate
	if decide != nil {
		fate = decide(ops)
	}
	switch {
	case fate.Err != nil:
		return 0, fate.Err
	case fate.Lost:
		return 0, fmt.Errorf("%w: lost", kvstore.ErrUnknown)
	case fate.Late > 0:
		time.AfterFunc(fate.Late, func() { _, _ = do(context.Background()) }) // nobody hears what becomes of it
		return 0, fmt.Errorf("%w: late", kvstore.ErrUnknown)
	case fate.Until != nil:
		go func() {
			<-fate.Until
			_, err := do(context.Background())
			fate.Then(err)
		}()
		return 0, fmt.Errorf("%w: held up", kvstore.ErrUnknown)
	case fate.Hang:
		<-ctx.Done()
		return 0, fmt.Errorf("%w: %w", kvstore.ErrUnknown, ctx.Err())
	case fate.Delay > 0:
		timer := time.NewTimer(fate.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		if err := s.pass(ctx); err != nil {
			return 0, err
		}
	}
	revision, err := do(ctx)
	if fate.Unheard && err == nil {
		if fate.Then != nil {
			fate.Then(nil)
		}
		return 0, fmt.Errorf("%w: unheard", kvstore.ErrUnknown)
	}
	return revision, err
}

// Create implements kvstore.Store.
func (s *Store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (kvstore.Revision, error) {
	return s.write(ctx, []kvstore.Op{{Key: key, Value: value, TTL: ttl}}, func(ctx context.Context) (kvstore.Revision, error) {
		return s.inner.Create(ctx, key, value, ttl)
	})
}

// Update implements kvstore.Store.
func (s *Store) Update(ctx context.Context, key string, value []byte, rev kvstore.Revision, ttl time.Duration) (kvstore.Revision, error) {
	return s.write(ctx, []kvstore.Op{{Key: key, Value: value, Revision: rev, TTL: ttl}}, func(ctx context.Context) (kvstore.Revision, error) {
		return s.inner.Update(ctx, key, value, rev, ttl)
	})
}

// Delete implements kvstore.Store.
func (s *Store) Delete(ctx context.Context, key string, value []byte, rev kvstore.Revision) (kvstore.Revision, error) {
	return s.write(ctx, []kvstore.Op{{Key: key, Value: value, Revision: rev, Delete: true}}, func(ctx context.Context) (kvstore.Revision, error) {
		return s.inner.Delete(ctx, key, value, rev)
	})
}

// Batch implements kvstore.Store.
func (s *Store) Batch(ctx context.Context, ops []kvstore.Op) (kvstore.Revision, error) {
	return s.write(ctx, ops, func(ctx context.Context) (kvstore.Revision, error) { return s.inner.Batch(ctx, ops) })
}

// Barrier implements kvstore.Store.
func (s *Store) Barrier(ctx context.Context) (kvstore.Revision, error) {
	return s.write(ctx, nil, s.inner.Barrier)
}

// Get implements kvstore.Store.
func (s *Store) Get(ctx context.Context, key string) (kvstore.Entry, error) {
	if err := s.pass(ctx); err != nil {
		return kvstore.Entry{}, err
	}
	return s.inner.Get(ctx, key)
}

// List implements kvstore.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]kvstore.Entry, kvstore.Revision, error) {
	if err := s.pass(ctx); err != nil {
		return nil, 0, err
	}
	return s.inner.List(ctx, prefix)
}
