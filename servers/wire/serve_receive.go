package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// take sorts one message of a caller. It runs on the Server's one goroutine: nothing in it waits.
func (s *Serving) take(msg *nats.Msg, subject Subject) {
	kind, part := "", ""
	wire := ""
	if msg.Header != nil {
		kind, part, wire = msg.Header.Get(HeaderFrame), msg.Header.Get(HeaderPart), msg.Header.Get(HeaderWire)
	}
	if wire != "" && wire != Version {
		s.server.turnDown(msg, fail(CodeRefused, "this instance speaks version "+Version+" of the wire, not "+wire, s.facts()))
		return
	}
	if subject.Kind != ByGroup && subject.Kind != ToAll && subject.Name != s.opts.Name || subject.Kind == ByInstance && subject.Instance != s.opts.Instance {
		s.server.turnDown(msg, fail(CodeRefused, fmt.Sprintf("the subject names %s, this instance serves %s", subject.Name, s.opts.Name), s.facts()))
		return
	}
	if kind == frameProbe {
		s.probe(msg)
		return
	}
	if kind == frameTap {
		s.tapped(msg, subject)
		return
	}
	if kind == frameResume || kind == frameCredit {
		s.flow(kind, msg, subject)
		return
	}
	if token := msg.Header.Get(HeaderToken); token != "" && s.opts.Token != "" && token != s.opts.Token {
		s.server.turnDown(msg, fail(CodeToken, fmt.Sprintf("%s has token %s, not %s", s.opts.Name, s.opts.Token, token), s.facts()))
		return
	}
	if subject.Session != "" {
		s.mu.Lock()
		session := s.sessions[subject.Session]
		s.mu.Unlock()
		if session == nil {
			facts := s.facts()
			facts.Why = "the instance does not know it"
			s.server.turnDown(msg, fail(CodeNoSession, s.opts.Name+": no such session", facts))
			return
		}
		session.push(msg, subject)
		return
	}
	switch of := msg.Header.Get(HeaderCall); {
	case of != "" && part != "":
		s.more(of, part, msg, subject)
	case of != "":
		s.control(of, msg)
	case part != "":
		s.begin(part, msg, subject, wire == "")
	default:
		s.request(msg, subject, wire == "")
	}
}

// request takes a whole message of a caller without a session.
func (s *Serving) request(msg *nats.Msg, subject Subject, bare bool) {
	m, refusal := s.agree(msg.Data, msg.Header, subject)
	if refusal == nil {
		s.mirror("up", inboxOf(msg.Reply), m.Raw)
	}
	if refusal != nil {
		s.server.turnDown(msg, refusal)
		return
	}
	if m.Notification() && subject.Kind == ToAll {
		s.spawn(func() { s.announce(m) })
		return
	}
	if !m.Request() || msg.Reply == "" { // a notification of nobody's, or nobody to answer to
		s.log.Debug("nothing to do for a message without a session", "method", m.Method)
		return
	}
	if subject.Kind == ToAll {
		if m.Method == methodInitialize {
			s.server.turnDown(msg, fail(CodeRefused, "a session is opened with one member", s.facts()))
			return
		}
		msg.Reply += "." + s.opts.Instance // each answers at a place of its own
	}
	c := s.newCall(msg.Reply, subject, bare)
	c.msg, c.id = m, m.ID()
	c.opening = m.Method == methodInitialize
	c.idle = idleOf(msg.Header)
	if down := msg.Header.Get(HeaderDownlink); c.opening && c.idle == 0 && !validDownlink(down) {
		s.server.turnDown(msg, fail(CodeRefused, "initialize opens a session and needs a header "+HeaderDownlink+" or "+HeaderIdle, s.facts()))
		return
	} else if c.opening {
		c.downlink = down
	}
	s.enqueue(c, msg)
}

func (s *Serving) newCall(reply string, subject Subject, bare bool) *call {
	c := &call{
		stream:  stream{nc: s.server.nc, subject: reply, who: &identity{s.opts.Instance, s.opts.Lease, s.opts.Name}},
		serving: s, reply: reply, subject: subject, bare: bare, since: time.Now(),
	}
	if !bare {
		c.missing = &missing{serving: s, stream: &c.stream, token: "c-" + strings.ReplaceAll(reply, ".", "-"), gone: c.abandon}
	}
	return c
}

// enqueue puts a call in the queue; the first frame goes out at the latest after ackAfter.
func (s *Serving) enqueue(c *call, msg *nats.Msg) {
	s.mu.Lock()
	var refusal *Error
	switch {
	case s.closing:
		refusal = fail(CodeNotValid, s.opts.Name+": the instance is closing", s.facts())
	case len(s.queue) >= s.opts.MaxQueue:
		refusal = fail(CodeBusy, s.opts.Name+": too many requests wait", s.facts())
	case s.calls[c.reply] != nil && s.calls[c.reply] != c:
		refusal = fail(CodeRefused, "two requests with one reply subject", s.facts())
	default:
		s.calls[c.reply] = c
		s.queue = append(s.queue, c)
		if !c.bare && c.ack == nil {
			c.acknowledge()
		}
	}
	s.mu.Unlock()
	switch {
	case refusal != nil && c.sent() > 0: // it came in parts
		c.fail(refusal)
	case refusal != nil:
		s.server.turnDown(msg, refusal)
	default:
		s.pump()
	}
}

// pump lets requests out of the queue while the backend may have more. Validity is asked now, not when they came.
func (s *Serving) pump() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 || s.inFlight >= s.opts.MaxInFlight {
			s.mu.Unlock()
			return
		}
		c := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if s.calls[c.reply] != c { // cancelled while it waited
			s.mu.Unlock()
			continue
		}
		c.slot = true
		s.inFlight++
		s.mu.Unlock()
		s.start(c)
	}
}

func (s *Serving) start(c *call) {
	s.spawn(func() { // not spawned: Close tells the caller
		refusal := s.invalid()
		backend, single := s.backend.(Stateless)
		switch {
		case refusal != nil:
			c.fail(refusal)
		case c.opening:
			s.open(c)
		case single:
			s.single(c, backend)
		default:
			s.share(c)
		}
	})
}

// single serves one request in a conversation of its own.
func (s *Serving) single(c *call, backend Stateless) {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.OpenTimeout)
	pipe, err := backend.Single(ctx)
	cancel()
	if err != nil {
		c.fail(s.openError(err))
		return
	}
	var v *conversation
	v = newConversation(s, pipe, false, func(m Message) {
		if m.Notification() {
			c.notify(m.Raw)
			return
		}
		v.refuse(m)
	}, func(error) {})
	c.solo.Store(v)
	v.request(c)
	v.read() // ends when the call has: see finished
}

// control acts upon a notification that belongs to a call without a session: a cancellation, or nothing.
func (s *Serving) control(reply string, msg *nats.Msg) {
	m, err := Scan(msg.Data)
	if err != nil || m.Method != methodCancelled {
		return
	}
	s.mu.Lock()
	c := s.calls[reply]
	s.mu.Unlock()
	if c == nil || c.opening || c.of != nil {
		return
	}
	s.mirror("up", c.whose(), msg.Data)
	if v := c.conv.Load(); v != nil && m.requestID.to == 0 { // of a caller that has closed: what the backend knows it by, only we know
		s.spawn(c.abandon)
		return
	} else if v != nil {
		m.Raw = splice(m.Raw) // it goes to a pipe that keeps it
		s.spawn(func() { v.cancelled(c, m) })
		return
	}
	c.drop()
}

// openError says why the backend gave no conversation.
func (s *Serving) openError(err error) *Error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal
	}
	facts := s.facts()
	facts.Executed, facts.Why = "no", err.Error()
	return fail(CodeBackend, s.opts.Name+": the server could not be started: "+err.Error(), facts)
}
