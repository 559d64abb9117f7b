package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// life is one first child, from the moment that it is wanted to its end.
type life struct {
	ctx    context.Context // ends when it is wanted no more
	cancel context.CancelFunc
	ready  chan struct{} // closed: the child is there, or will never be, and err is set

	// Set before ready is closed.
	child *Child
	mux   *mux
	err   error

	kick    chan struct{} // a list of the server's has changed
	judged  chan struct{} // closed: the child has ended, and another is to follow or not
	resting bool          // it is ended because nobody used it; Stdio's lock guards it
}

// end ends the child, or the wait for it.
func (l *life) end() {
	l.cancel()
	if l.child != nil {
		l.mux.close()
		l.child.Close()
	}
}

// news notes that a list of the server's has changed.
func (l *life) news() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// begin makes a life. Its caller holds s.mu, and runs live for it.
func (s *Stdio) begin() *life {
	l := &life{ready: make(chan struct{}), kick: make(chan struct{}, 1), judged: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	s.life = l
	s.lives[l] = struct{}{}
	return l
}

// came gives a life its child. s.mu is held.
func (s *Stdio) came(l *life, c *Child, info servers.Info) {
	l.child, l.mux = c, newMux(c, info, s.opts.Logger, l.news)
	s.first, s.info = c, info
	s.story.up()
	s.changed()
	close(l.ready)
	if s.closed { // Close was quicker
		l.end()
	}
}

// live follows a life to its end, and has the next one begin where one is wanted.
func (s *Stdio) live(l *life) {
	defer l.cancel()
	select {
	case <-l.ready:
	default:
		if err := s.bring(l); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			l.err = err
			close(l.ready)
			delete(s.lives, l)
			s.life = nil
			if s.closed {
				err = wire.ErrClosed
				if s.first != nil && s.first.Err() != nil {
					err = s.first.Err()
				}
			}
			s.finish(err)
			return
		}
	}
	stop := s.attend(l)
	<-l.child.Done()
	s.died(l)
	stop()
	l.mux.close()
	l.child.Close()
	<-l.child.gone
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lives, l)
}

// died has the next life begin where one is to follow.
func (s *Stdio) died(l *life) {
	exit := l.child.err
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed()
	defer close(l.judged)
	if l.resting {
		s.logs.note(fmt.Sprintf("pid %d was ended: it was idle", l.child.Pid()))
		return
	}
	s.logs.note(fmt.Sprintf("pid %d %s after %s", l.child.Pid(), exit.How(), round(exit.After)))
	s.life = nil
	switch {
	case s.closed || !s.opts.Restart.again(exit):
		s.story.ended(exit)
		s.finish(exit)
	case s.story.failed(exit, exit.After, s.opts.Backoff):
		s.finish(s.story.over(s.name()))
	default:
		next := s.begin()
		s.wg.Go(func() { s.live(next) })
	}
}

// another tells whether there is, or is to be, a first child after the one of a life that has ended.
func (s *Stdio) another(l *life) bool {
	<-l.judged
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && !s.closed
}

// bring starts the child of a life, as often as it takes.
func (s *Stdio) bring(l *life) error {
	for {
		s.mu.Lock()
		wait, ask := s.story.wait(s.opts.Backoff), askBoth
		if s.info.Era == servers.Modern {
			ask = askModern
		} else if s.info.Era == servers.Legacy {
			ask = askLegacy
		}
		s.mu.Unlock()
		if wait > 0 {
			s.logs.note("starting again in " + round(wait).String())
			select {
			case <-time.After(wait):
			case <-l.ctx.Done():
				return l.ctx.Err()
			}
		}
		c, info, err := s.initialise(l.ctx, ask)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.came(l, c, *info)
			return nil
		}
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		s.opts.Logger.Warn("the server did not start", "command", s.name(), "err", err)
		s.logs.note(err.Error())
		s.mu.Lock()
		gone := s.story.failed(err, 0, s.opts.Backoff) || s.opts.Restart == Never
		why := s.story.over(s.name())
		s.changed()
		s.mu.Unlock()
		if gone {
			return why
		}
	}
}

// wanted is the life that is there or to come; one is begun where there is none.
func (s *Stdio) wanted() (*life, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, wire.ErrClosed
	case s.err != nil:
		return nil, s.err
	case s.life == nil:
		l := s.begin()
		s.wg.Go(func() { s.live(l) })
	}
	return s.life, nil
}

// await waits for a child, for a bounded time. The error is one of the message that waited.
func (s *Stdio) await(ctx context.Context, closed <-chan struct{}) (*life, error) {
	l, err := s.wanted()
	if err != nil {
		return nil, s.absent(err)
	}
	select {
	case <-l.ready:
	default:
		patience := time.NewTimer(s.opts.Backoff.Wait)
		defer patience.Stop()
		select {
		case <-l.ready:
		case <-closed:
			return nil, io.ErrClosedPipe
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-patience.C:
			s.mu.Lock()
			why := s.story.last
			s.mu.Unlock()
			if why == nil {
				why = errors.New("it is starting")
			}
			return nil, s.absent(fmt.Errorf("no server within %s: %w", s.opts.Backoff.Wait, why))
		}
	}
	if l.err != nil {
		return nil, s.absent(l.err)
	}
	return l, nil
}

// absent is the answer to a request that met no child.
func (s *Stdio) absent(why error) error {
	if errors.Is(why, wire.ErrClosed) {
		return wire.ErrClosed
	}
	return &absentError{refusal(wire.CodeBackend, "the server is not there: "+why.Error()), why}
}

// absentError is the wire's answer, and the cause.
type absentError struct {
	answer *wire.Error
	why    error
}

func (e *absentError) Error() string   { return e.why.Error() }
func (e *absentError) Unwrap() []error { return []error{e.answer, e.why} }
