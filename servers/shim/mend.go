package shim

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// outage lets what the client says wait, and has mend see to the server. why is what the client is told when the wait is over. s.mu is held.
func (s *shim) outage(why *wire.Error) {
	s.down = true
	if why != nil {
		s.why = why
	}
	if s.mending || s.ctx.Err() != nil {
		return
	}
	s.mending = true
	s.trouble++
	s.work.Go(s.mend)
}

// missing is what requests are answered with once the wait is over. s.mu is held.
func (s *shim) missing() *wire.Error {
	if s.why != nil {
		return s.why
	}
	return s.bus.Missing()
}

// mend waits for the server, makes the session again, and sends what has waited. It ends when that is done.
func (s *shim) mend() {
	s.mu.Lock()
	trouble := s.trouble
	s.mu.Unlock()
	limit := time.AfterFunc(max(s.opts.Wait, 0), s.giveUp)
	defer limit.Stop()
	for tries := trouble; ; tries++ {
		if tries > 0 && !s.pause(min(firstPause<<min(tries-1, 10), longPause)) {
			return
		}
		if err := s.bus.Await(s.ctx); err != nil {
			if s.ctx.Err() == nil {
				s.stop(err) // the registry is closed
			}
			return
		}
		err := s.connect()
		switch {
		case errors.Is(err, ErrSessionEnded):
			s.stop(err)
			return
		case err != nil:
			s.log.Info("the server cannot be reached yet", "err", err)
			s.mu.Lock()
			if failure, ok := errors.AsType[*wire.Error](err); ok {
				s.why = failure
			}
			s.mu.Unlock()
		case s.flush():
			return
		}
	}
}

// pause waits about that long. False: the shim has ended.
func (s *shim) pause(d time.Duration) bool {
	select {
	case <-time.After(d/2 + rand.N(d/2+1)):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// giveUp answers what has waited too long. What follows is answered at once, until there is a server.
func (s *shim) giveUp() {
	s.mu.Lock()
	if !s.down || s.ctx.Err() != nil {
		s.mu.Unlock()
		return
	}
	s.failing = true
	var late []*request
	for len(s.backlog) > 0 {
		late = append(late, s.unqueue(0))
	}
	why := s.missing()
	s.mu.Unlock()
	s.log.Warn("no server came", "waited", s.opts.Wait, "why", why)
	for _, r := range late {
		s.refuse(r, why)
	}
	s.mu.Lock()
	s.settle()
	s.mu.Unlock()
}

// connect makes a conversation if there is none, and the session in it if there was one.
func (s *shim) connect() error {
	s.mu.Lock()
	there, again, n := s.pipe != nil, s.session.open(), s.session
	dial := s.bus.Dial
	if s.translated {
		dial = s.bus.Translated
	}
	s.mu.Unlock()
	if there {
		return nil
	}
	pipe, err := dial()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(s.ctx, func() { _ = pipe.Close() })
	defer stop()
	s.mu.Lock()
	s.epoch++
	epoch := s.epoch
	s.mu.Unlock()
	var said []json.RawMessage
	if again {
		if said, err = s.replay(pipe, n); err != nil {
			_ = pipe.Close()
			return err
		}
		s.log.Info("the session was made again")
	}
	s.mu.Lock()
	s.pipe = pipe
	s.mu.Unlock()
	s.work.Go(func() { s.readBus(pipe, epoch, said) })
	if again {
		s.renewed(n)
	}
	return nil
}

// flush sends what has waited, in order, and lets the client through again. False: the conversation ended meanwhile.
func (s *shim) flush() bool {
	for {
		s.mu.Lock()
		pipe := s.pipe
		if pipe == nil {
			s.mu.Unlock()
			return false
		}
		if len(s.backlog) == 0 {
			s.down, s.failing, s.mending, s.why = false, false, false, nil
			s.mu.Unlock()
			return true
		}
		r := s.unqueue(0)
		s.pending[string(r.id)] = r
		s.mu.Unlock()
		if !s.send(pipe, r) {
			return false
		}
	}
}
