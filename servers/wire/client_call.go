package wire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// request sends a request and notes that it is pending. What fails comes back as its answer.
func (p *client) request(ctx context.Context, m Message, target string) error {
	c := &pending{id: m.ID(), method: m.Method}
	c.key = idKey(c.id)
	p.out.Lock()
	defer p.out.Unlock()
	p.mu.Lock()
	if p.over {
		err := p.gone()
		p.mu.Unlock()
		return err
	}
	if p.ids[c.key] != nil {
		p.mu.Unlock()
		p.queue.put(item{raw: (&Error{Code: -32600, Message: "a request with this id is in flight"}).Response(c.id), last: true, failure: true})
		return nil
	}
	p.next++
	c.number = strconv.FormatUint(p.next, 10)
	c.in.to = p.reply(c.number)
	c.session = p.session != ""
	if c.session {
		c.subject, c.owner = p.inSession(m.Method, target), p.owner
	} else {
		c.subject = p.subject(m.Method, target)
		if m.Method == methodInitialize && p.opening == nil {
			c.opens = make(chan struct{})
			p.opening = c.opens
		}
	}
	p.calls[c.number], p.ids[c.key] = c, c
	p.latest = c
	p.mu.Unlock()

	headers := p.headers(c)
	send := func(ctx context.Context) error {
		return p.publish(ctx, c.subject, p.reply(c.number), frameRequest, m.Raw, c.session, c, headers...)
	}
	if len(m.Raw) <= window && !c.session {
		c.raw, c.target = m.Raw, target // to be sent to another member, if need be
	}
	if (!c.session || p.detached) && p.caller.opts.Held != nil {
		p.mu.Lock()
		c.again = send
		p.mu.Unlock()
	}
	p.sent(c, send(ctx))
	return nil
}

// sent notes that a request is on its way, or answers it.
func (p *client) sent(c *pending, err error) {
	if err != nil {
		facts := p.facts(c)
		facts.Executed, facts.Why = "no", err.Error()
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) { // it may go out yet
			facts.Executed = "unknown"
		}
		p.finish(c, fail(CodeNoResponders, "the request could not be sent: "+err.Error(), facts))
		return
	}
	p.mu.Lock()
	c.sent = time.Now()
	c.heard = c.sent
	p.mu.Unlock()
}

const (
	againAfter  = 50 * time.Millisecond // how long a request waits that nobody listened for, though somebody is to
	comingEvery = 250 * time.Millisecond
	comingTries = 20 // of a message in a detached session whose instance is registered and does not listen
)

// tryAgain sends a request once more, a little later, that nobody has listened for. False: it is not to be sent again.
func (p *client) tryAgain(c *pending) bool {
	p.mu.Lock()
	send, most, wait := c.again, 1, againAfter
	if p.detached && p.session != "" { // the instance is known: it may be connecting again
		most, wait = comingTries, comingEvery
	}
	if c.tries++; c.tries >= most {
		c.again = nil
	}
	wanted := c.cancel == nil
	p.mu.Unlock()
	if send == nil || !wanted || !p.caller.opts.Held(p.target) {
		return false
	}
	p.caller.work.Go(func() { // tryAgain runs in work itself
		select {
		case <-time.After(wait):
		case <-p.caller.ctx.Done():
			return // its Close has answered
		}
		p.out.Lock()
		defer p.out.Unlock()
		p.mu.Lock()
		open := p.calls[c.number] == c && c.cancel == nil
		c.rest, c.parts = nil, nil
		p.mu.Unlock()
		if open {
			p.sent(c, send(p.caller.ctx))
		} else {
			p.finish(c, p.unanswered(c)) // cancelled meanwhile: nobody hears of it
		}
	})
	return true
}

// publish sends a message, in parts if it is large. In a session of its own the parts follow one another; else those after the first wait
// in c until the first frame tells who has that.
func (p *client) publish(ctx context.Context, subject Subject, reply, kind string, body []byte, session bool, c *pending, headers ...string) error {
	size := int(p.caller.payload.Load()) - partRoom
	if size <= 0 {
		return fmt.Errorf("wire: the server takes no payload of %d bytes", p.caller.payload.Load())
	}
	parts := max(1, (len(body)+size-1)/size)
	for i := range parts {
		msg := &nats.Msg{Subject: subject.String(), Reply: reply, Header: nats.Header{HeaderWire: {Version}, HeaderFrame: {kind}}}
		for h := 0; h+1 < len(headers); h += 2 {
			msg.Header[headers[h]] = []string{headers[h+1]}
		}
		msg.Data = body
		if parts > 1 {
			msg.Header[HeaderPart] = []string{formatPart(i+1, parts)}
			msg.Data = body[i*size : min((i+1)*size, len(body))]
		}
		if session && !p.detached {
			seq, err := p.number(ctx, msg, i > 0)
			if err != nil {
				return err
			}
			if c != nil {
				p.mu.Lock()
				c.up = seq
				p.mu.Unlock()
			}
			continue
		}
		if parts > 1 {
			p.mu.Lock()
			for j := 1; j < parts; j++ {
				c.rest = append(c.rest, body[j*size:min((j+1)*size, len(body))])
			}
			p.mu.Unlock()
		}
		return p.caller.put(ctx, msg)
	}
	return nil
}

// direct is where messages that belong to a call without a session go, once it is known who has it.
func (p *client) direct(c *pending) Subject {
	if c.session {
		return c.subject
	}
	return Subject{Scope: p.caller.opts.Scope, Kind: ByInstance, Instance: c.owner.Instance,
		Method: c.subject.Method, Target: c.subject.Target, Name: c.owner.Name}
}

// cancelled passes on that the client wants no answer any more; none will come.
func (p *client) cancelled(ctx context.Context, m Message) error {
	p.mu.Lock()
	var c *pending
	if id := m.requestID.of(m.Raw); validKey(id) {
		c = p.ids[idKey(id)]
	}
	if c == nil || c.opens != nil { // answered meanwhile; an initialize cannot be cancelled
		p.mu.Unlock()
		return nil
	}
	delete(p.ids, c.key)
	if c.session {
		delete(p.calls, c.number)
		p.mu.Unlock()
		return p.tell(ctx, m, "")
	}
	if c.owner == nil { // the first frame will tell where to
		c.cancel = m.Raw
		p.mu.Unlock()
		return nil
	}
	delete(p.calls, c.number)
	p.mu.Unlock()
	p.sendCancel(c, m.Raw)
	return nil
}

func (p *client) sendCancel(c *pending, raw []byte) {
	subject := p.direct(c)
	subject.Method, subject.Target = MethodToken(methodCancelled), ""
	_ = publish(p.caller.nc, &nats.Msg{Subject: subject.String(), Data: raw, Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {frameNotification}, HeaderCall: {p.reply(c.number)},
	}}) // nothing is promised for a cancellation
}

// finish takes a call out and answers it with an error, unless that has happened.
func (p *client) finish(c *pending, err *Error) {
	p.mu.Lock()
	if p.calls[c.number] != c {
		p.mu.Unlock()
		return
	}
	p.take(c)
	wanted := c.cancel == nil
	p.mu.Unlock()
	if wanted && p.retry(c, err) {
		return
	}
	if wanted {
		p.reject(c, err)
	}
	p.opened(c)
}

// reject answers a call with an error of the wire.
func (p *client) reject(c *pending, err *Error) {
	if c.told != nil {
		c.told <- err // one place, and only who takes the call out gets here
		return
	}
	p.queue.put(item{raw: err.Response(c.id), last: true, failure: true})
}

// take removes a call. p.mu is held.
func (p *client) take(c *pending) {
	delete(p.calls, c.number)
	if p.ids[c.key] == c {
		delete(p.ids, c.key)
	}
}

// opened lets those go on who wait for an initialize: into the session, or without one.
func (p *client) opened(c *pending) {
	if c.opens == nil {
		return
	}
	p.mu.Lock()
	if p.opening == c.opens {
		p.opening = nil
		close(c.opens)
	}
	p.mu.Unlock()
}
