package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxHeld     = 256 << 20        // bytes of messages that are not complete yet, for one instance
	partTimeout = 30 * time.Second // between two parts of one message
	partAsk     = 3 * time.Second  // after which the next one is asked for
)

// incoming is a message of which not all parts are there yet.
type incoming struct {
	assembly
	call    *call
	subject Subject
	header  nats.Header
	timer   *time.Timer
	asked   time.Time // when parts were asked for that are missing
	quiet   int       // how often they were since the last one came
}

// begin takes the first part of a request without a session: the rest comes once the caller knows who has it.
func (s *Serving) begin(part string, msg *nats.Msg, subject Subject, bare bool) {
	if msg.Reply == "" || bare {
		s.server.turnDown(msg, fail(CodeRefused, "a message in parts needs a reply subject and the header "+HeaderWire, s.facts()))
		return
	}
	in := &incoming{call: s.newCall(msg.Reply, subject, false), subject: subject, header: msg.Header}
	body, err := in.add(part, msg.Data, s.limit)
	if err != nil || body != nil {
		s.server.turnDown(msg, s.partError(err))
		return
	}
	s.mu.Lock()
	full := s.held+len(msg.Data) > maxHeld || s.parts[msg.Reply] != nil || s.calls[msg.Reply] != nil || s.closing
	if !full {
		s.held += len(msg.Data)
		s.parts[msg.Reply] = in
		s.calls[msg.Reply] = in.call
		in.timer = time.AfterFunc(partAsk, func() { s.partMissing(msg.Reply, in) })
	}
	s.mu.Unlock()
	if full {
		s.server.turnDown(msg, fail(CodeBusy, s.opts.Name+": too many large requests wait", s.facts()))
		return
	}
	in.call.first(frameAck)
}

// partMissing asks for the next part, and gives the message up if that does not help.
func (s *Serving) partMissing(reply string, in *incoming) {
	s.mu.Lock()
	waits := s.parts[reply] == in && s.ctx.Err() == nil
	in.quiet++
	over, next := time.Duration(in.quiet)*partAsk >= partTimeout, in.next
	if waits && !over {
		in.timer.Reset(partAsk)
	}
	s.mu.Unlock()
	switch {
	case !waits:
	case over:
		s.give(reply, in, fail(CodeUnknown, "the parts of a request stopped to come", s.facts()))
	default:
		s.partControl(frameResume, reply, next)
	}
}

func (s *Serving) more(reply, part string, msg *nats.Msg, subject Subject) {
	s.mu.Lock()
	in := s.parts[reply]
	if in != nil && s.held+len(msg.Data) <= maxHeld {
		s.held += len(msg.Data)
	}
	s.mu.Unlock()
	if in == nil {
		return // given up before: the caller was told
	}
	s.mu.Lock()
	in.quiet = 0
	in.timer.Reset(partAsk)
	s.mu.Unlock()
	if i, _, ok := strings.Cut(part, "/"); ok && in.n > 0 {
		if number, err := strconv.Atoi(i); err == nil && number != in.next+1 {
			if number > in.next+1 && time.Since(in.asked) > resumeAgain { // it is not whole, and does not become so by this one
				in.asked = time.Now()
				s.partControl(frameResume, reply, in.next)
			}
			return
		}
	}
	var err error
	var body []byte
	if subject.Method != in.subject.Method || subject.Target != in.subject.Target {
		err = errors.New("wire: the parts of one message have different subjects")
	} else {
		s.mu.Lock() // partMissing looks
		body, err = in.add(part, msg.Data, s.limit)
		s.mu.Unlock()
	}
	if err == nil {
		s.partTaken(&in.assembly, reply)
	}
	switch {
	case err != nil:
		s.give(reply, in, s.partError(err))
	case body != nil:
		c := in.call
		m, refusal := s.agree(body, in.header, in.subject)
		if refusal == nil {
			s.mirror("up", inboxOf(reply), m.Raw)
		}
		if refusal == nil && (!m.Request() || m.Method == methodInitialize) {
			refusal = fail(CodeRefused, "only a request without a session travels in parts here", s.facts())
		}
		c.id = m.ID()
		s.give(reply, in, refusal)
		if refusal == nil {
			c.msg = m
			s.enqueue(c, &nats.Msg{Subject: in.subject.String(), Reply: reply, Data: body})
		}
	}
}

// give takes an incomplete message out, and tells its caller why if refusal is not nil.
func (s *Serving) give(reply string, in *incoming, refusal *Error) {
	s.mu.Lock()
	if s.parts[reply] != in {
		s.mu.Unlock()
		return
	}
	delete(s.parts, reply)
	s.held = 0
	for _, other := range s.parts {
		s.held += len(other.body)
	}
	s.mu.Unlock()
	in.timer.Stop()
	if refusal != nil {
		in.call.fail(refusal)
	}
}

func (s *Serving) partError(err error) *Error {
	if errors.Is(err, ErrTooLarge) {
		return fail(CodeTooLarge, fmt.Sprintf("a message of more than %d bytes", s.limit), s.facts())
	}
	if err == nil {
		err = errors.New("wire: a message in one part")
	}
	return fail(CodeRefused, err.Error(), s.facts())
}
