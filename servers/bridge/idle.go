package bridge

import (
	"context"
	"time"
)

// watchIdle ends a child that nobody has used for a while.
func (s *Stdio) watchIdle(ctx context.Context, l *life) {
	if s.opts.Idle <= 0 {
		return
	}
	for wait := s.opts.Idle; ; {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if wait = s.rest(l, s.opts.Idle); wait == 0 {
			return
		}
	}
}

// rest ends a child that nobody has used for so long, and says how long it is until that can be. 0: it is done.
func (s *Stdio) rest(l *life, idle time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != l || s.closed {
		return 0
	}
	if wait := l.mux.rest(idle); wait > 0 {
		return wait
	}
	l.resting = true
	s.life = nil
	s.changed()
	s.wg.Go(l.end)
	return 0
}
