package wire

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// taken notes that a message was read, and tells the instance from time to time: it sends no more than a window ahead.
func (p *client) taken(it item) {
	p.mu.Lock()
	in, seq, total := it.in, it.seq, it.total
	if in.unread--; in.unread == 0 {
		seq, total = in.seq, in.total // with the parts of what follows
	}
	tell := !it.last && in.credit(seq, total)
	p.mu.Unlock()
	if tell {
		p.control(frameCredit, in, seq)
	}
}

// part notes that a part has come of a message that is not whole yet: it needs no reader to be taken, unless one waits for its reader already.
func (p *client) part(in *inbound, c *pending) {
	p.mu.Lock()
	tell := in.unread == 0 && in.credit(in.seq, in.total)
	seq := in.seq
	p.mu.Unlock()
	if tell {
		p.control(frameCredit, in, seq)
	}
}

// missing asks for the frames that did not come. c is nil for the downlink.
func (p *client) missing(in *inbound, c *pending) {
	p.mu.Lock()
	ask, gone := in.ask(time.Now(), p.caller.opts.FirstFrame)
	seq := in.seq
	p.mu.Unlock()
	switch {
	case gone && c == nil:
		p.lost(fmt.Sprintf("frame %d was asked for, and did not come", seq+1))
	case gone:
		facts := p.facts(c)
		facts.Why = fmt.Sprintf("frame %d was asked for, and did not come", seq+1)
		p.finish(c, fail(CodeUnknown, "frames of the answer were lost", facts))
	case ask:
		p.control(frameResume, in, seq)
	}
}

// control says something about a stream to the instance that sends it. It waits for nothing: what is lost is said again.
func (p *client) control(kind string, in *inbound, after uint64) {
	p.mu.Lock()
	subject := Subject{Scope: p.caller.opts.Scope, Kind: ByInstance, Instance: p.pin.Instance, Session: p.session, Name: p.pin.Name}
	if p.session == "" {
		for _, c := range p.calls {
			if &c.in == in && c.owner != nil {
				subject.Instance, subject.Name = c.owner.Instance, c.owner.Name
			}
		}
	}
	p.mu.Unlock()
	if subject.Instance == "" {
		return
	}
	_ = p.caller.nc.PublishMsg(&nats.Msg{Subject: subject.String(), Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {kind}, HeaderCall: {in.to}, HeaderAfter: {strconv.FormatUint(after, 10)},
	}})
}

// apart takes a frame that stands in no stream: one begins, or cannot be had.
func (p *client) apart(c *pending, kind string, msg *nats.Msg) {
	switch kind {
	case frameError:
		p.finish(c, errorOf(msg.Data))
	case frameCredit, frameResume:
		if n, err := strconv.Atoi(msg.Header.Get(HeaderAfter)); err == nil {
			p.partsTaken(c, kind, n)
		}
	case frameAck:
		id, seq, _, ok := parseEventID(msg.Header.Get(HeaderAfter))
		if !ok || c.listens == nil {
			return
		}
		p.mu.Lock()
		c.in.id, c.in.seq, c.in.told, c.began = id, seq, seq, EventID(id, seq)
		p.mu.Unlock()
		p.found(c, msg)
		p.mu.Lock()
		c.in.id = id
		select {
		case <-c.listens:
		default:
			close(c.listens)
		}
		p.mu.Unlock()
	}
}

// confirmed ends the wait of who has sent a message that has no answer.
func (p *client) confirmed(c *pending) {
	p.mu.Lock()
	ours := p.calls[c.number] == c
	if ours {
		p.take(c)
	}
	p.mu.Unlock()
	if ours {
		c.told <- nil
	}
}

// dismiss ends a session that was opened for nobody.
func (p *client) dismiss() {
	p.mu.Lock()
	subject := p.inSession("", "")
	p.mu.Unlock()
	_ = p.caller.nc.PublishMsg(&nats.Msg{Subject: subject.String(), Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {frameBye},
	}}) // else it ends unused
}
