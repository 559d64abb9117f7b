package wire

import (
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// flow acts upon what a caller says of a stream: that it has taken frames, or that it lacks some. It runs on the Server's one goroutine.
func (s *Serving) flow(kind string, msg *nats.Msg, subject Subject) {
	of, after := msg.Header.Get(HeaderCall), msg.Header.Get(HeaderAfter)
	if of == "" {
		if kind == frameResume && msg.Reply != "" {
			s.spawn(func() { s.attach(msg.Reply, after, subject) })
		}
		return
	}
	seq, err := strconv.ParseUint(after, 10, 64)
	if err != nil {
		return
	}
	stream := s.stream(of, subject)
	switch {
	case kind == frameCredit && stream != nil && stream.credit(seq):
		s.spawn(func() { _ = stream.more() }) // what cannot be published is asked for
	case kind == frameResume:
		s.spawn(func() {
			err := error(ErrUnknown)
			if stream != nil {
				err = stream.resume(seq)
			}
			if err != nil {
				s.lost(of, err)
			}
		})
	}
}

// stream finds the stream that goes to a subject: of a call, of an answered one, or of the session's downlink.
func (s *Serving) stream(to string, subject Subject) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[to]; c != nil {
		return &c.stream
	}
	session := s.sessions[subject.Session]
	if session == nil {
		return s.answered.find(to)
	}
	if session.down.address() == to {
		return session.down
	}
	for _, c := range s.calls { // one that another process has taken over
		if c.of == session && c.address() == to {
			return &c.stream
		}
	}
	if stream := session.find(to); stream != nil {
		return stream
	}
	return s.answered.find(to)
}

// lost tells a caller that what it asks for cannot be had. The frame has no number: it belongs to no place in the stream.
func (s *Serving) lost(to string, err error) {
	facts := s.facts()
	facts.Why, facts.Executed = err.Error(), "unknown"
	if errors.Is(err, ErrUnknown) {
		facts.Why = "the instance has answered, or never got the request"
	}
	s.apart(to, fail(CodeUnknown, "the answer was lost", facts))
}

// apart sends an error that stands in no stream.
func (s *Serving) apart(to string, err *Error) {
	_ = publish(s.server.nc, &nats.Msg{Subject: to, Data: err.Response(nil), Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {frameError},
	}}) // who does not hear it asks again
}

// attach lets a stream of a session go to another subject, from an event on.
func (s *Serving) attach(to, after string, subject Subject) {
	s.mu.Lock()
	session := s.sessions[subject.Session]
	s.mu.Unlock()
	if session == nil || !session.detached {
		facts := s.facts()
		facts.Why = "the instance does not know it"
		s.apart(to, fail(CodeNoSession, s.opts.Name+": no such session", facts))
		return
	}
	id, seq, now, ok := parseEventID(after)
	stream := session.stream(id)
	if !ok || stream == nil {
		facts := s.facts()
		facts.Why = "nothing is kept of stream " + strconv.Quote(id)
		s.apart(to, fail(CodeUnknown, s.opts.Name+": no such event", facts))
		return
	}
	old, err := stream.move(to, seq, now)
	if err != nil {
		facts := s.facts()
		facts.Why = err.Error()
		s.apart(to, fail(CodeUnknown, s.opts.Name+": what followed that event is not kept any more", facts))
		return
	}
	session.touch()
	if old != "" && old != to {
		s.apart(old, fail(CodeReplaced, s.opts.Name+": another process listens now", s.facts()))
	}
}

// idleOf reads how long a session is to live unused, 0 if it is to end with its client.
func idleOf(h nats.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get(HeaderIdle), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// catchUp publishes what has waited for the connection.
func (s *Serving) catchUp() {
	s.mu.Lock()
	streams := s.answered.waiting()
	for _, c := range s.calls {
		streams = append(streams, &c.stream)
	}
	for _, session := range s.sessions {
		streams = append(streams, session.down)
		session.mu.Lock()
		streams = append(streams, session.kept...)
		session.mu.Unlock()
	}
	s.mu.Unlock()
	for _, stream := range streams {
		_ = stream.more() // away again: the next time
	}
}
