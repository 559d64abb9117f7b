package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	probeEvery   = time.Second
	idleProbe    = 5 * time.Second        // where only a session waits, and no call
	secondProbe  = 250 * time.Millisecond // after one that found nobody
	patience     = 30 * time.Second       // for an instance without interest whose lease goes on
	silenceLimit = 30 * time.Second       // for an instance that has interest and says nothing
)

// owner is an instance that has calls or sessions of this Caller.
type owner struct {
	Owner
	ctx    context.Context // ends when nobody cares any more
	cancel context.CancelFunc

	// under the Caller's lock
	asked  time.Time // when the last probe went out
	since  time.Time // of the first probe in a row without an answer; zero: the last was answered
	nobody int       // probes in a row that found no interest
	unused int       // rounds in which nobody had anything with it
}

func (o *owner) key() string { return o.Instance + "." + o.Lease }

// probe is a question on its way.
type probe struct {
	owner *owner
	name  *client // no owner: asks for anybody behind a name
	sent  time.Time
}

// watch asks the instances that owe something, each once a second whatever the number of calls.
func (c *Caller) watch() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	status := c.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED)
	defer func() { go c.nc.RemoveStatusListener(status) }() // it takes the lock too
	for {
		select {
		case now := <-tick.C:
			if !c.away.Load() { // else nothing can be learned, and asking may wait
				c.round(now)
			} else {
				c.overdue(now)
			}
		case is := <-status:
			if is == nats.CONNECTED {
				c.payload.Store(c.nc.MaxPayload()) // it may be another server
			}
			c.away.Store(is != nats.CONNECTED)
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *Caller) round(now time.Time) {
	c.mu.Lock()
	var clients []*client
	for _, p := range c.clients {
		clients = append(clients, p)
	}
	for id, p := range c.probes {
		if now.Sub(p.sent) > patience {
			delete(c.probes, id)
		}
	}
	c.mu.Unlock()
	busy, idle := map[*owner]bool{}, map[*owner]bool{}
	for _, p := range clients {
		p.owes(busy, idle)
		if p.overdue(now) {
			c.askName(p)
		}
	}
	c.mu.Lock()
	var ask, silent []*owner
	for _, o := range c.owners {
		switch {
		case busy[o] || idle[o] && now.Sub(o.asked) >= idleProbe-probeEvery/2:
			o.unused = 0
			if !o.since.IsZero() && now.Sub(o.since) > silenceLimit && o.nobody == 0 {
				silent = append(silent, o)
			} else {
				ask = append(ask, o)
			}
		case !idle[o]:
			if o.unused++; o.unused > 60 {
				o.cancel()
				delete(c.owners, o.key())
			}
		}
	}
	c.mu.Unlock()
	for _, o := range ask {
		c.ask(o)
	}
	for _, o := range silent {
		c.end(o, fmt.Sprintf("it said nothing for %v", silenceLimit))
	}
}

// overdue ends what has waited too long while the connection is away.
func (c *Caller) overdue(now time.Time) {
	c.mu.Lock()
	var clients []*client
	for _, p := range c.clients {
		clients = append(clients, p)
	}
	c.mu.Unlock()
	for _, p := range clients {
		p.overdue(now)
	}
}

// ask sends one probe to an instance.
func (c *Caller) ask(o *owner) {
	subject := Subject{Scope: c.opts.Scope, Kind: ByInstance, Instance: o.Instance, Name: o.Name}
	c.mu.Lock()
	now := time.Now()
	o.asked = now
	if o.since.IsZero() {
		o.since = now
	}
	id := c.enter(&probe{owner: o, sent: now})
	c.mu.Unlock()
	c.send(subject, id)
}

// askName asks whether anybody is left behind the target of calls that have had no first frame.
func (c *Caller) askName(p *client) {
	subject := p.subject("", "")
	c.mu.Lock()
	id := c.enter(&probe{name: p, sent: time.Now()})
	c.mu.Unlock()
	c.send(subject, id)
}

func (c *Caller) enter(p *probe) string {
	c.next++
	id := strconv.FormatUint(c.next, 10)
	c.probes[id] = p
	return id
}

func (c *Caller) send(subject Subject, id string) {
	body, _ := json.Marshal(map[string]string{"inbox": c.inbox})
	_ = c.nc.PublishMsg(&nats.Msg{Subject: subject.String(), Reply: c.inbox + ".p." + id, Data: body, Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {frameProbe},
	}}) // while the connection is away nothing can be learned
}

// answered takes what came back for a probe.
func (c *Caller) answered(id string, msg *nats.Msg) {
	c.mu.Lock()
	p := c.probes[id]
	delete(c.probes, id)
	c.mu.Unlock()
	switch {
	case p == nil:
	case noResponders(msg) && p.owner == nil:
		p.name.nobody(p.sent)
	case noResponders(msg):
		c.nobody(p.owner)
	case p.owner == nil: // somebody is there: the first frame decides
	case msg.Header.Get(HeaderFrame) == frameError:
		c.end(p.owner, "another server answers in its place")
	case msg.Header.Get(HeaderFrame) == frameBeat && p.owner.Lease != orDefault(msg.Header.Get(HeaderLease), p.owner.Lease):
		c.end(p.owner, "it lives by another lease now") // an instance keeps its id when its owner has lost a session
	case msg.Header.Get(HeaderFrame) == frameBeat:
		var s state
		if err := json.Unmarshal(msg.Data, &s); err != nil {
			return
		}
		c.mu.Lock()
		p.owner.since, p.owner.nobody = time.Time{}, 0
		var clients []*client
		for _, client := range c.clients {
			clients = append(clients, client)
		}
		c.mu.Unlock()
		for _, client := range clients {
			client.compare(p.owner, p.sent, s)
		}
	}
}

// nobody takes the evidence that an instance has no subscription. Once can be a reconnect, so it asks again.
func (c *Caller) nobody(o *owner) {
	c.mu.Lock()
	o.nobody++
	dead := o.nobody >= 2 && c.opts.Ended == nil || time.Since(o.since) > patience
	c.mu.Unlock()
	if dead {
		c.end(o, "nobody listens there any more")
		return
	}
	c.work.Go(func() {
		select {
		case <-time.After(secondProbe):
			c.ask(o)
		case <-o.ctx.Done():
		}
	})
}
