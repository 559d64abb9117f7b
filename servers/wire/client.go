package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// client is a Pipe over the bus. Which era it speaks follows from what is written to it.
type client struct {
	caller  *Caller
	target  Target
	tag     string // its part of the Caller's inbox
	private bool   // the Caller was made for this one
	closing sync.Once

	out sync.Mutex // held while publishing in a session, so that numbers go out in order

	mu      sync.Mutex
	calls   map[string]*pending // by number
	ids     map[string]*pending // by the id that the client gave
	next    uint64
	session string    // the subject's token; "" before an initialize was answered
	pin     Owner     // who has the session
	owner   *owner    // of the session
	since   time.Time // when the session began
	opening chan struct{}
	up      outbound
	down    inbound
	over    bool
	err     error

	poll     *Poll // it asks all members of a group
	detached bool  // the session belongs to no client: frames have no numbers, and its end is not the session's
	leaving  bool  // nobody waits for the session any more that an initialize opens

	latest *pending // the last request: the only one of a Stream

	queue *inbox
}

// pending is a request that has no answer yet.
type pending struct {
	number  string
	id      json.RawMessage
	key     string
	method  string
	session bool
	subject Subject
	owner   *owner // nil before the first frame
	in      inbound
	sent    time.Time // zero while it is being sent
	up      uint64    // the number of its last frame in a session
	rest    [][]byte  // parts that wait for the first frame
	parts   *partsOut // and are on their way after that
	cancel  []byte    // a cancellation that waits for it
	opens   chan struct{}
	again   func(context.Context) error // sends it once more; nil: it was, or is not to be
	tries   int                         // how often that was tried
	raw     []byte                      // the request, if it may go to another member
	target  string                      // its tool, prompt or resource
	attempt int                         // so many members have had it
	limit   time.Duration               // the one that it has reached
	heard   time.Time                   // when it was sent, or last said something
	told    chan *Error                 // instead of an answer: whether the instance has taken it
	listens chan struct{}               // it asks for the frames of a stream; closed when they begin
	began   string                      // the event after which they begin
}

func newClient(c *Caller, t Target, tag string) *client {
	p := &client{up: newOutbound(), caller: c, target: t, tag: tag, calls: map[string]*pending{}, ids: map[string]*pending{}, queue: newInbox()}
	p.down.to = p.reply("d")
	return p
}

// Read waits for what the server says. See Pipe.
func (p *client) Read(ctx context.Context) (json.RawMessage, error) {
	it, err := p.queue.get(ctx)
	if err == nil && it.in != nil {
		p.taken(it)
	}
	return it.raw, err
}

// Close ends the conversation. A session's instance is told, and so are those that have requests of it.
func (p *client) Close() error {
	p.end(ErrClosed, true)
	p.closing.Do(func() {
		if p.private {
			go p.caller.Close() // it waits for goroutines, one of which may have called this
		}
	})
	return nil
}

// end ends the conversation: pending calls are answered with err before Read ends with it.
func (p *client) end(err error, tell bool) {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return
	}
	p.over, p.err = true, err
	calls := p.calls
	p.calls, p.ids = map[string]*pending{}, map[string]*pending{}
	session, pin, opening := p.session, p.pin, p.opening
	p.opening = nil // closed once, here or when the initialize is answered
	p.up.signal()
	p.mu.Unlock()
	p.caller.forget(p)
	for _, c := range calls {
		if tell && c.owner != nil && !c.session {
			quoted, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": methodCancelled,
				"params": map[string]any{"requestId": c.id, "reason": "the client closed"}})
			p.sendCancel(c, quoted)
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = fail(CodeUnknown, "the conversation was closed", p.facts(c))
		}
		p.reject(c, e)
	}
	if tell && session != "" && !p.detached {
		p.out.Lock() // a writer who waits for room has seen the end
		p.mu.Lock()
		p.up.seq++
		seq := p.up.seq
		p.mu.Unlock()
		subject := Subject{Scope: p.caller.opts.Scope, Kind: ByInstance, Instance: pin.Instance, Session: session, Name: pin.Name}
		_ = p.caller.nc.PublishMsg(&nats.Msg{Subject: subject.String(), Reply: p.reply("x"), Header: nats.Header{
			HeaderWire: {Version}, HeaderFrame: {frameBye}, HeaderSeq: {strconv.FormatUint(seq, 10)},
		}}) // an instance that does not hear it misses our interest instead
		p.out.Unlock()
	}
	if opening != nil {
		close(opening)
	}
	if errors.Is(err, ErrClosed) {
		err = io.EOF
	}
	p.queue.close(err)
}

func (p *client) facts(c *pending) Facts {
	f := Facts{Name: p.target.Name, Group: p.target.Group, Instance: p.target.Instance}
	if c != nil && c.owner != nil {
		f.Name, f.Instance, f.Lease = c.owner.Name, c.owner.Instance, c.owner.Lease
	}
	return f
}

func (p *client) reply(tail string) string { return p.caller.inbox + "." + p.tag + "." + tail }

// subject is where a message without a session goes.
func (p *client) subject(method, target string) Subject {
	s := Subject{Scope: p.caller.opts.Scope, Kind: ByName, Method: MethodToken(method), Target: TargetToken(target), Name: p.target.Name}
	switch {
	case p.poll != nil:
		s.Kind, s.Name = ToAll, p.target.Group
	case p.target.Group != "":
		s.Kind, s.Name = ByGroup, p.target.Group
	case p.target.Instance != "":
		s.Kind, s.Instance = ByInstance, p.target.Instance
	}
	return s
}

// Write takes one message of the client. An error that wraps *Error is about this message alone: it is not a message, or too large.
func (p *client) Write(ctx context.Context, raw json.RawMessage) error {
	m, err := Scan(raw)
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return &Error{Code: -32700, Message: strings.TrimPrefix(err.Error(), "wire: ")}
	}
	target, err := m.Target()
	if err != nil {
		return fail(CodeRefused, strings.TrimPrefix(err.Error(), "wire: "), p.facts(nil))
	}
	if len(raw) > p.caller.limit {
		e := fail(CodeTooLarge, fmt.Sprintf("a message of %d bytes, at most %d", len(raw), p.caller.limit), p.facts(nil))
		if m.Request() {
			p.queue.put(item{raw: e.Response(m.ID()), last: true, failure: true})
			return nil
		}
		return e
	}
	p.mu.Lock()
	if p.over {
		err := p.gone()
		p.mu.Unlock()
		return err
	}
	opening := p.opening
	p.mu.Unlock()
	if opening != nil { // what follows an initialize waits for the session
		select {
		case <-opening:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch {
	case m.Request():
		return p.request(ctx, m, target)
	case m.Method == methodCancelled && m.requestID.to > 0:
		return p.cancelled(ctx, m)
	default:
		return p.tell(ctx, m, target)
	}
}

// gone is the error of a Write after the end. It wraps nothing: it is not about that message. p.mu is held.
func (p *client) gone() error { return fmt.Errorf("wire: the conversation has ended: %v", p.err) }

// tell sends a notification or an answer in the session. Without one there is nobody to be told.
func (p *client) tell(ctx context.Context, m Message, target string) error {
	p.mu.Lock()
	session := p.session
	p.mu.Unlock()
	if session == "" {
		p.caller.log.Debug("nobody is to be told", "method", m.Method)
		return nil
	}
	kind := frameNotification
	if m.Response() {
		kind = frameResponse
	}
	p.out.Lock()
	defer p.out.Unlock()
	p.mu.Lock()
	subject := p.inSession(m.Method, target)
	p.next++
	reply := p.reply(strconv.FormatUint(p.next, 10))
	p.mu.Unlock()
	return p.publish(ctx, subject, reply, kind, m.Raw, true, nil)
}

// inSession is where a message of the session goes. p.mu is held.
func (p *client) inSession(method, target string) Subject {
	return Subject{Scope: p.caller.opts.Scope, Kind: ByInstance, Instance: p.pin.Instance, Session: p.session,
		Method: MethodToken(method), Target: TargetToken(target), Name: p.pin.Name}
}
