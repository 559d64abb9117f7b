package registrytest

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Watch implements kvstore.Store.
func (s *Store) Watch(ctx context.Context, opts *kvstore.WatchOptions) iter.Seq2[kvstore.Step, error] {
	return func(yield func(kvstore.Step, error) bool) {
		for ctx.Err() == nil && s.follow(ctx, opts, yield) {
		}
	}
}

// arrival is a step on its way from the log to the reader.
type arrival struct {
	step kvstore.Step
	err  error
	at   time.Time // when the log sent it
	end  bool
}

// follow hands the steps of one watch of the log on, until it is to lose something: then it returns true, and the next begins with a snapshot.
func (s *Store) follow(ctx context.Context, opts *kvstore.WatchOptions, yield func(kvstore.Step, error) bool) bool {
	ctx, cancel := context.WithCancel(ctx)
	line := make(chan arrival, 4096) // longer than what a watch keeps for its reader
	var pump sync.WaitGroup
	defer pump.Wait()
	defer cancel()
	pump.Go(func() {
		send := func(a arrival) bool {
			select {
			case line <- a:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for step, err := range s.inner.Watch(ctx, opts) {
			if !send(arrival{step: step, err: err, at: time.Now()}) {
				return
			}
		}
		send(arrival{end: true})
	})
	s.mu.Lock()
	gaps := s.gaps
	s.mu.Unlock()
	var head *arrival
	for {
		s.mu.Lock()
		blocked, gap, delay, changed := s.frozen || s.cut, s.gaps != gaps, s.delay, s.changed
		s.mu.Unlock()
		more, wait := line, time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return false
		case !blocked && gap:
			return true
		case blocked:
			more = nil
		case head != nil:
			more = nil
			if wait = time.Until(head.at.Add(delay)); wait <= 0 {
				if head.end || !yield(head.step, head.err) || head.err != nil {
					return false
				}
				head = nil
				continue
			}
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case a := <-more:
			head = &a
		case <-due:
		case <-changed:
		case <-ctx.Done():
		}
	}
}
