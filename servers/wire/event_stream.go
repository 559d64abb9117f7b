package wire

import (
	"context"
	"io"
	"sync/atomic"
)

// Stream is what comes for one request, or what a server says by itself in one session. Read is called by one goroutine at a time.
type Stream struct {
	p      *client
	listen bool // it has no response: an error is an error
	closed atomic.Bool
	read   atomic.Pointer[string] // the id of the last Event
}

// Read waits for the next message. For a request the last one is the response, and io.EOF follows; failures of the wire come as that response, with
// Event.Err. Of a session's own messages the end is an error that wraps *Error: ErrNoSession when the session has ended, ErrReplaced when
// another process listens now, ErrUnknown when messages were lost. ctx's error leaves the Stream as it is.
func (s *Stream) Read(ctx context.Context) (Event, error) {
	it, err := s.p.queue.get(ctx)
	if err != nil {
		return Event{}, err
	}
	e := Event{Data: it.raw, Last: it.last}
	if it.in != nil {
		s.p.mu.Lock()
		e.ID = EventID(it.in.id, it.seq)
		s.p.mu.Unlock()
		s.read.Store(&e.ID)
		if s.listen && !it.last {
			s.p.control(frameCredit, it.in, it.seq) // each one: the next who listens goes on after it
		}
		s.p.taken(it)
	}
	if it.failure {
		e.Err = errorOf(it.raw)
	}
	if it.last {
		s.p.end(ErrClosed, false)
		if s.listen && e.Err != nil {
			s.p.queue.close(io.EOF)
			return Event{}, e.Err
		}
	}
	return e, nil
}

// Position is where a process goes on that takes the Stream over now: the id of the last Event, before the first one the place before it. It is "" outside
// sessions, and until the instance has said that it has the request, at most 100 ms.
func (s *Stream) Position() string {
	if id := s.read.Load(); id != nil {
		return *id
	}
	return s.Start()
}

// Start is the place before the first Event, as Position gives it, also when that was read.
func (s *Stream) Start() string {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	switch c := s.p.latest; {
	case c == nil:
		return ""
	case c.listens != nil:
		return c.began
	default:
		return EventID(c.in.id, 0)
	}
}

// Close ends the Stream. A request without a session that has no response yet is cancelled; in a detached session it goes on, and what comes of it can be
// had with Remote.Resume.
func (s *Stream) Close() error {
	if s.closed.CompareAndSwap(false, true) {
		s.p.end(ErrClosed, true)
	}
	return nil
}
