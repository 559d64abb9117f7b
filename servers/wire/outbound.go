package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// windowFrames is how many frames of a session a caller may have under way: an instance queues a bounded number of them.
const windowFrames = 1024

// outbound is what a client says in its session: numbered frames, kept until the instance has taken them. The client's lock guards it.
type outbound struct {
	seq    uint64 // the last number given
	frames []*nats.Msg
	open   int           // bytes in frames
	mark   uint64        // seq when the instance was last asked what it has heard
	room   chan struct{} // holds one token when there may be room
	again  bool          // frames are being sent again
}

func newOutbound() outbound { return outbound{room: make(chan struct{}, 1)} }

func (o *outbound) signal() {
	select {
	case o.room <- struct{}{}:
	default:
	}
}

// full tells whether a frame of that size has to wait.
func (o *outbound) full(size int) bool {
	return len(o.frames) >= windowFrames || o.open > 0 && o.open+size > window
}

// taken lets go of the frames up to seq.
func (o *outbound) taken(seq uint64) {
	for len(o.frames) > 0 && o.seq-uint64(len(o.frames))+1 <= seq {
		o.open -= len(o.frames[0].Data)
		o.frames[0] = nil
		o.frames = o.frames[1:]
	}
	o.signal()
}

// number gives a frame its number and publishes it, once there is room for it. A part that follows others is kept where it cannot be published: the instance
// will ask for it. p.out is held.
func (p *client) number(ctx context.Context, msg *nats.Msg, follows bool) (uint64, error) {
	p.mu.Lock()
	for p.up.full(len(msg.Data)) {
		if p.over {
			err := p.gone()
			p.mu.Unlock()
			return 0, err
		}
		p.mu.Unlock()
		wait := ctx.Done()
		if follows {
			wait = nil // half a message cannot be taken back
		}
		select {
		case <-p.up.room:
		case <-wait:
			return 0, ctx.Err()
		case <-p.caller.ctx.Done():
			return 0, ErrClosed
		}
		p.mu.Lock()
	}
	p.up.seq++
	seq := p.up.seq
	msg.Header[HeaderSeq] = []string{strconv.FormatUint(seq, 10)}
	p.up.frames = append(p.up.frames, msg)
	p.up.open += len(msg.Data)
	p.mu.Unlock()
	err := p.caller.put(ctx, msg)
	var broken net.Error
	if err == nil || follows || errors.As(err, &broken) { // a socket that broke took earlier frames with it: the instance asks for all of them
		return seq, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil && p.up.seq == seq && len(p.up.frames) > 0 { // it has certainly not gone out
		p.up.seq--
		p.up.open -= len(msg.Data)
		p.up.frames = p.up.frames[:len(p.up.frames)-1]
		return 0, err
	}
	return seq, nil // it has its place in the order: it goes out later
}

// uplink takes what the instance says of our frames.
func (p *client) uplink(msg *nats.Msg) {
	seq, err := strconv.ParseUint(msg.Header.Get(HeaderAfter), 10, 64)
	if err != nil || msg.Header.Get(HeaderWire) != Version {
		return
	}
	switch msg.Header.Get(HeaderFrame) {
	case frameCredit:
		p.mu.Lock()
		p.up.taken(seq)
		p.mu.Unlock()
	case frameResume:
		p.repeat(seq)
	}
}

// repeat sends the frames after one again.
func (p *client) repeat(after uint64) {
	p.mu.Lock()
	first := p.up.seq - uint64(len(p.up.frames)) // the last that is kept no more
	if after < first || after > p.up.seq {
		p.mu.Unlock()
		p.lost(fmt.Sprintf("frame %d was asked for, frames %d to %d are kept", after+1, first+1, p.up.seq))
		return
	}
	if p.up.again || p.over {
		p.mu.Unlock()
		return
	}
	p.up.again = true
	frames := append([]*nats.Msg(nil), p.up.frames[after-first:]...)
	p.mu.Unlock()
	p.caller.work.Go(func() { // repeat runs in work itself
		for _, msg := range frames {
			if p.caller.nc.PublishMsg(msg) != nil {
				break // the instance asks again
			}
		}
		p.mu.Lock()
		p.up.again = false
		p.mu.Unlock()
	})
}

// partsOut are the parts of one large message after the first, on their way.
type partsOut struct {
	parts [][]byte
	next  int // the index in parts of the next one to be sent
	taken int // so many have been taken
	wake  chan struct{}
}

// sendRest sends the other parts of a large message to the instance that has the first, as far ahead as the window goes, until it has all of them.
func (p *client) sendRest(c *pending) {
	out := c.parts
	subject := p.direct(c)
	n := len(out.parts)
	quiet := time.NewTimer(partTimeout)
	defer quiet.Stop()
	for {
		p.mu.Lock()
		i, taken, gone := out.next, out.taken, p.calls[c.number] != c
		var open int
		for j := taken; j < i; j++ {
			open += len(out.parts[j])
		}
		ready := i < n && (open == 0 || open+len(out.parts[i]) <= window)
		if ready {
			out.next++
		}
		p.mu.Unlock()
		if gone || taken >= n {
			return
		}
		if ready {
			msg := &nats.Msg{Subject: subject.String(), Reply: c.in.to, Data: out.parts[i], Header: nats.Header{
				HeaderWire: {Version}, HeaderFrame: {frameRequest}, HeaderPart: {formatPart(i+2, n+1)},
			}}
			if !c.session {
				msg.Header[HeaderCall] = []string{c.in.to}
			}
			if err := p.caller.put(p.caller.ctx, msg); err != nil {
				p.finish(c, fail(CodeUnknown, "the request could not be sent whole: "+err.Error(), p.facts(c)))
				return
			}
			continue
		}
		quiet.Reset(partTimeout)
		select {
		case <-out.wake:
		case <-quiet.C:
			p.finish(c, fail(CodeUnknown, "the instance has stopped to take the request", p.facts(c)))
			return
		case <-p.caller.ctx.Done():
			return
		}
	}
}

// partsTaken takes what the instance says of the parts of a message: that it has taken so many, or lacks what follows them.
func (p *client) partsTaken(c *pending, kind string, n int) {
	p.mu.Lock()
	out := c.parts
	if out == nil && c.rest != nil {
		out = &partsOut{parts: c.rest, wake: make(chan struct{}, 1)}
		c.rest, c.parts = nil, out
		p.caller.work.Go(func() { p.sendRest(c) }) // this goroutine is in work itself
	}
	if out != nil && n-1 >= out.taken && n-1 <= len(out.parts) {
		if out.taken = n - 1; kind == frameResume {
			out.next = out.taken
		}
		select {
		case out.wake <- struct{}{}:
		default:
		}
	}
	p.mu.Unlock()
}
