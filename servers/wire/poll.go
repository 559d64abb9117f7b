package wire

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Poll is one request to all members of a group, each of which answers for itself. Next is called by one goroutine at a time.
type Poll struct {
	p    *client
	id   json.RawMessage
	seen map[string]bool // the members that have begun to answer
}

// Answer is what one member says: notifications, then (Last) its response.
type Answer struct {
	Name, Instance string
	Event
}

// maxPoll is how many members one Poll hears.
const maxPoll = 10000

// AskAll sends one request to all members of a group. Who they are, nobody knows here: the answers come as they come, until the Poll is closed. Errors: as Request;
// a request larger than one frame is refused, as parts need a receiver.
func (c *Caller) AskAll(ctx context.Context, group string, msg json.RawMessage) (*Poll, error) {
	m, target, err := c.forAll(msg, true)
	if err != nil {
		return nil, err
	}
	poll := &Poll{id: m.ID(), seen: map[string]bool{}}
	p, err := c.dial(Target{Group: group}, func(p *client) { p.poll, poll.p = poll, p })
	if err != nil {
		return nil, err
	}
	// The call that is asked is answered by nobody: it hears that nobody listens. It is never overdue, as it is never noted as sent.
	base := &pending{id: m.ID(), key: "", method: m.Method, number: "1", subject: p.subject(m.Method, target)}
	base.in.to = p.reply(base.number)
	p.mu.Lock()
	p.next, p.calls[base.number] = 1, base
	p.mu.Unlock()
	if err := p.publish(ctx, base.subject, base.in.to, frameRequest, m.Raw, false, base); err != nil {
		_ = p.Close()
		return nil, err
	}
	return poll, nil
}

// forAll checks a message for all members of a group.
func (c *Caller) forAll(msg json.RawMessage, request bool) (Message, string, error) {
	m, err := Scan(msg)
	if err == nil {
		err = m.check()
	}
	if err == nil && (m.Request() != request || m.Response()) {
		err = errors.New("wire: not a message of this kind")
	}
	if err != nil {
		return m, "", &Error{Code: -32600, Message: strings.TrimPrefix(err.Error(), "wire: ")}
	}
	target, err := m.Target()
	if err != nil {
		return m, "", fail(CodeRefused, strings.TrimPrefix(err.Error(), "wire: "), Facts{})
	}
	if len(msg) > int(c.payload.Load())-partRoom {
		return m, "", fail(CodeTooLarge, "a message for all members of a group travels in one frame", Facts{})
	}
	return m, target, nil
}

// PublishAll says a notification to all members of a group that are there. It returns when the message is on its way; nobody confirms it.
func (c *Caller) PublishAll(ctx context.Context, group string, msg json.RawMessage) error {
	m, target, err := c.forAll(msg, false)
	if err != nil {
		return err
	}
	p, err := c.dial(Target{Group: group}, func(p *client) { p.poll = &Poll{} })
	if err != nil {
		return err
	}
	defer p.Close()
	return p.publish(ctx, p.subject(m.Method, target), "", frameNotification, m.Raw, false, nil)
}

// member returns the call of one member, which begins with its first frame. p.mu is held.
func (l *Poll) member(p *client, tail string) *pending {
	number, instance, ok := strings.Cut(tail, ".")
	if !ok || number != "1" || !validID(instance) || p.over || l.seen[instance] || len(l.seen) >= maxPoll {
		return nil
	}
	l.seen[instance] = true
	base := p.calls[number]
	if base == nil {
		return nil
	}
	c := &pending{id: base.id, key: tail, method: base.method, number: tail, subject: base.subject, sent: time.Now()}
	c.in.to, c.in.from = p.reply(tail), Owner{Group: p.target.Group, Instance: instance}
	c.heard = c.sent
	p.calls[tail] = c
	return c
}

// Next waits for the next message of any member. Errors: ErrNoResponders when the group has nobody; ctx's, which leaves the Poll as it is; io.EOF after Close.
func (l *Poll) Next(ctx context.Context) (Answer, error) {
	it, err := l.p.queue.get(ctx)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Event: Event{Data: it.raw, Last: it.last}}
	if it.failure {
		a.Err = errorOf(it.raw)
	}
	if it.in == nil { // nobody is there, or the wire says why a member does not answer
		facts := a.Err.Facts()
		if a.Name, a.Instance = facts.Name, facts.Instance; a.Instance == "" {
			return Answer{}, a.Err
		}
		return a, nil
	}
	l.p.mu.Lock()
	a.Name, a.Instance = it.in.from.Name, it.in.from.Instance
	l.p.mu.Unlock()
	l.p.taken(it)
	return a, nil
}

// Close ends the Poll. Members that have begun and not answered are told that nobody waits any more.
func (l *Poll) Close() error { return l.p.Close() }
