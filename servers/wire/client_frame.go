package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// frame takes one frame from the bus: of a call by its number, or of the downlink. It runs on the Caller's one goroutine.
func (p *client) frame(tail string, msg *nats.Msg) {
	switch tail {
	case "d":
		p.downlink(msg)
		return
	case "u":
		p.uplink(msg)
		return
	}
	p.mu.Lock()
	c := p.calls[tail]
	if c == nil && p.poll != nil {
		c = p.poll.member(p, tail)
	}
	p.mu.Unlock()
	if c == nil {
		p.caller.farewell(msg)
		if msg.Header.Get(HeaderFrame) == frameError { // a notification or an answer was turned down
			p.turnedDown(msg)
		}
		return
	}
	if noResponders(msg) {
		if c.session && !p.detached {
			return // its server may have died: the frame is kept, and the next probe shows whether the instance lacks it
		}
		if !p.tryAgain(c) {
			p.finish(c, p.unanswered(c))
		}
		return
	}
	if msg.Header.Get(HeaderWire) != Version {
		facts := p.facts(c)
		facts.Why = "the answer has no header " + HeaderWire + ": " + Version
		p.finish(c, fail(CodeForeign, "who answers for "+p.target.String()+" does not speak this wire", facts))
		return
	}
	kind := msg.Header.Get(HeaderFrame)
	if kind == frameBeat {
		return
	}
	number := msg.Header.Get(HeaderSeq)
	if number == "" {
		p.apart(c, kind, msg)
		return
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	p.mu.Lock()
	follows, missing := c.in.next(seq)
	if follows {
		c.in.total += len(msg.Data)
	}
	p.mu.Unlock()
	if err != nil || missing {
		p.missing(&c.in, c)
	}
	if !follows {
		return
	}
	if c.owner == nil {
		p.found(c, msg)
	}
	if kind == frameAck {
		if c.told != nil {
			p.confirmed(c)
		}
		return
	}
	body, err := c.in.parts.add(msg.Header.Get(HeaderPart), msg.Data, p.caller.limit)
	if err != nil {
		facts := p.facts(c)
		facts.Why = err.Error()
		code := CodeUnknown
		if errors.Is(err, ErrTooLarge) {
			code, facts.Executed = CodeTooLarge, "unknown"
		}
		p.finish(c, fail(code, "the answer is not whole", facts))
		return
	}
	switch {
	case body == nil:
		p.part(&c.in, c)
	case kind == frameNotification || kind == frameRequest:
		p.mu.Lock()
		c.heard = time.Now()
		p.mu.Unlock()
		if p.wanted(c) {
			p.deliver(&c.in, body, item{})
		}
	case kind == frameResponse || kind == frameError:
		p.answer(c, kind, msg, body)
	case kind == frameBye:
		p.finish(c, p.farewell(body))
	}
}

// wanted is false for a call that the client has cancelled.
func (p *client) wanted(c *pending) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.cancel == nil
}

// found notes who has the call, from its first frame, and sends what waited for that.
func (p *client) found(c *pending, msg *nats.Msg) {
	instance, name := msg.Header.Get(HeaderInstance), msg.Header.Get(HeaderServer)
	if !validID(instance) || !ValidName(name) { // turned down before anybody had it
		return
	}
	o := p.caller.owner(instance, msg.Header.Get(HeaderLease), name)
	p.mu.Lock()
	c.owner, c.again = o, nil // with the message in it, which may be large
	c.in.id = msg.Header.Get(HeaderStream)
	if o != nil {
		c.in.from = o.Owner
	}
	rest, cancel := c.rest != nil, c.cancel
	if cancel != nil {
		p.take(c)
	}
	p.mu.Unlock()
	if o == nil {
		return
	}
	if cancel != nil {
		p.caller.work.Go(func() { p.sendCancel(c, cancel) }) // this goroutine is in work itself, and may not wait
	} else if rest {
		p.partsTaken(c, frameCredit, 1)
	}
}

func (p *client) answer(c *pending, kind string, msg *nats.Msg, body []byte) {
	p.mu.Lock()
	if p.calls[c.number] != c {
		p.mu.Unlock()
		return
	}
	p.take(c)
	if c.opens != nil {
		instance, session, ok := strings.Cut(msg.Header.Get(HeaderSession), ".")
		if ok && kind == frameResponse && c.owner != nil && instance == c.owner.Instance && validID(session) {
			p.session, p.owner, p.since, p.pin = session, c.owner, time.Now(), c.owner.Owner
		}
	}
	wanted := c.cancel == nil
	leave := p.leaving && p.session != ""
	p.mu.Unlock()
	if leave {
		p.dismiss()
	}
	if kind == frameError && wanted && p.retry(c, errorOf(body)) {
		return
	}
	if kind == frameResponse && c.method == methodListTools {
		p.caller.learn(p.target, body)
	}
	if c.told != nil { // a message that wants no answer was turned down
		p.reject(c, errorOf(body))
		return
	}
	if wanted {
		p.deliver(&c.in, body, item{last: true, failure: kind == frameError})
	}
	p.opened(c)
	if kind == frameError && c.session {
		p.turnedDown(msg)
	}
}

// turnedDown ends the session if the instance does not know it.
func (p *client) turnedDown(msg *nats.Msg) {
	var response struct{ Error *Error }
	if json.Unmarshal(msg.Data, &response) == nil && errors.Is(response.Error, ErrNoSession) {
		p.end(response.Error, false)
	}
}

// downlink takes what the server says by itself.
func (p *client) downlink(msg *nats.Msg) {
	kind := msg.Header.Get(HeaderFrame)
	if msg.Header.Get(HeaderWire) != Version || kind == frameBeat {
		return
	}
	if msg.Header.Get(HeaderSeq) == "" {
		if kind == frameError { // what we asked for again cannot be had
			p.lost(errorOf(msg.Data).Facts().Why)
		}
		return
	}
	seq, err := strconv.ParseUint(msg.Header.Get(HeaderSeq), 10, 64)
	p.mu.Lock()
	follows, missing := p.down.next(seq)
	if follows {
		p.down.total += len(msg.Data)
	}
	p.mu.Unlock()
	if err != nil || missing {
		p.missing(&p.down, nil)
	}
	if !follows {
		return
	}
	body, err := p.down.parts.add(msg.Header.Get(HeaderPart), msg.Data, p.caller.limit)
	if err != nil {
		p.lost(err.Error())
		return
	}
	switch {
	case body == nil:
		p.part(&p.down, nil)
	case kind == frameBye:
		p.end(p.farewell(body), false)
	case kind == frameRequest || kind == frameNotification:
		p.deliver(&p.down, body, item{})
	}
}

// farewell is why a session ended, as the instance says it.
func (p *client) farewell(body []byte) *Error {
	why := &Error{}
	if json.Unmarshal(body, why) != nil || why.Code == 0 {
		why = fail(CodeNoSession, "the session ended", p.facts(nil))
	}
	return why
}

// errorOf reads the error out of a response.
func errorOf(body []byte) *Error {
	var response struct{ Error *Error }
	if json.Unmarshal(body, &response) != nil || response.Error == nil {
		return fail(CodeForeign, "an error without an error", Facts{})
	}
	return response.Error
}

// lost ends a session of which something was lost.
func (p *client) lost(why string) {
	facts := p.facts(nil)
	facts.Why, facts.Executed = why, "unknown"
	p.end(fail(CodeNoSession, "the session ended: frames were lost", facts), true)
}

// deliver queues a message for Read. A reader too slow for the limit ends the conversation: messages are never dropped in silence.
func (p *client) deliver(in *inbound, body []byte, it item) {
	it.raw, it.in = body, in
	p.mu.Lock()
	in.unread++
	it.seq, it.total = in.seq, in.total
	p.mu.Unlock()
	if !p.queue.put(it) {
		p.lost("the client reads too slowly")
	}
}

func (p *client) unanswered(c *pending) *Error {
	if say := p.caller.opts.Unanswered; say != nil && !c.session {
		if e := say(p.target); e != nil {
			return e
		}
	}
	facts := p.facts(c)
	facts.Why, facts.Executed = "no responders", "no"
	if p.detached && p.session != "" {
		return fail(CodeNoSession, "the session is gone: nobody answers for "+p.target.String(), facts)
	}
	return fail(CodeNoResponders, "nobody answers for "+p.target.String(), facts)
}
