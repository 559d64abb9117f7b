package wire

import (
	"encoding/json"
	"errors"
	"fmt"
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
	p.mu.Unlock()
	if c == nil {
		p.caller.farewell(msg)
		if msg.Header.Get(HeaderFrame) == frameError { // a notification or an answer was turned down
			p.turnedDown(msg)
		}
		return
	}
	if noResponders(msg) {
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

// owes notes the instances from which something is awaited.
func (p *client) owes(busy, idle map[*owner]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.owner != nil && c.listens != nil {
			idle[c.owner] = true
		} else if c.owner != nil {
			busy[c.owner] = true
		}
	}
	p.up.mark = p.up.seq
	if p.session != "" && !p.over && p.owner != nil {
		idle[p.owner] = true
	}
}

// overdue ends the calls that have waited too long, and tells whether others have waited long enough for their first frame to ask.
func (p *client) overdue(now time.Time) bool {
	limit := p.caller.opts.FirstFrame
	var late, over, lacks []*pending
	ask := false
	p.mu.Lock()
	lacking := !p.down.asked.IsZero()
	for _, c := range p.calls {
		if c.sent.IsZero() {
			continue
		}
		if !c.in.asked.IsZero() {
			lacks = append(lacks, c)
		}
		waited := now.Sub(c.sent)
		if most := p.caller.opts.Limit; most != nil && most(c.method) > 0 && waited > most(c.method) {
			over = append(over, c)
		} else if c.owner == nil && waited > limit {
			late = append(late, c)
		} else if c.owner == nil && waited > probeEvery/2 {
			ask = true
		}
	}
	p.mu.Unlock()
	for _, c := range lacks {
		p.missing(&c.in, c)
	}
	if lacking {
		p.missing(&p.down, nil)
	}
	for _, c := range late {
		facts := p.facts(c)
		facts.Why = fmt.Sprintf("no frame came within %v", limit)
		p.finish(c, fail(CodeUnknown, p.target.String()+" did not say that it has the call", facts))
	}
	for _, c := range over {
		facts := p.facts(c)
		facts.Why = fmt.Sprintf("no answer within %v", p.caller.opts.Limit(c.method))
		p.finish(c, fail(CodeUnknown, p.target.String()+" did not answer "+c.method, facts))
	}
	return ask
}

// nobody ends the calls that had no first frame when a probe for their target found nobody.
func (p *client) nobody(asked time.Time) {
	var dead []*pending
	p.mu.Lock()
	for _, c := range p.calls {
		if c.owner == nil && !c.sent.IsZero() && asked.Sub(c.sent) > ackAfter {
			dead = append(dead, c)
		}
	}
	p.mu.Unlock()
	for _, c := range dead {
		facts := p.facts(c)
		facts.Why = "nobody listens for it any more"
		p.finish(c, fail(CodeEnded, p.target.String()+" ended before it said that it has the call", facts))
	}
}

// compare holds what an instance says that it has of us against what we wait for. Frames of one connection arrive in order, so what is
// missing here, after all that was sent before the answer, was lost.
func (p *client) compare(o *owner, asked time.Time, s state) {
	var lost []*pending
	p.mu.Lock()
	heard, numbered := s.Heard[p.tag]
	numbered = numbered || p.session != "" && !p.detached && p.owner == o && s.Heard != nil && p.since.Before(asked)
	repeat := numbered && heard < p.up.mark
	for number, c := range p.calls {
		if c.owner != o || c.sent.IsZero() || c.sent.After(asked) {
			continue
		}
		if sent, has := s.Calls[p.tag+"."+number]; !has && repeat && c.up > heard {
			continue // it is sent again
		} else if !has || sent > c.in.seq {
			lost = append(lost, c)
		}
	}
	session, seen := p.session, p.down.seq
	ours := session != "" && p.owner == o && !p.detached && !p.over && p.since.Before(asked)
	p.mu.Unlock()
	if repeat {
		p.repeat(heard)
	}
	for _, c := range lost {
		p.missing(&c.in, c)
	}
	if sent, has := s.Sessions[session]; ours && has && sent > seen {
		p.missing(&p.down, nil)
	} else if ours && !has {
		facts := p.facts(nil)
		facts.Why = "the instance does not know it any more"
		p.end(fail(CodeNoSession, "the session ended", facts), false)
	}
}

// ownerEnded ends what an instance owes that has ended.
func (p *client) ownerEnded(o *owner, why string) {
	var dead []*pending
	p.mu.Lock()
	for _, c := range p.calls {
		if c.owner == o && (!c.session || p.detached) {
			dead = append(dead, c)
		}
	}
	session := p.session != "" && p.owner == o
	p.mu.Unlock()
	facts := Facts{Name: o.Name, Group: p.target.Group, Instance: o.Instance, Lease: o.Lease, Why: why}
	err := fail(CodeEnded, fmt.Sprintf("%s has ended: %s", o.Name, why), facts)
	for _, c := range dead {
		p.finish(c, err)
	}
	if session {
		p.end(err, false)
	}
}
