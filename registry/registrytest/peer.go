package registrytest

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Peer is one process's connection to a Hub: a registry.Peers.
type Peer struct {
	hub     *Hub
	node    bool
	servers int
	running sync.Mutex // one delivery at a time

	// Guarded by the hub's mutex.
	server, client string // empty while there is no connection
	dead           bool
	thawed         chan struct{} // not nil while frozen; closed by Thaw
	subs           map[string][]*callback[func([]byte) []byte]
	links          []*callback[func(bool, string)]
	losts          []*callback[func(_, _, _ string)]
	inbox          []delivery
	outbox         []func() // what it sent while it was frozen
}

type delivery struct {
	due time.Time
	run func()
}

// deliver puts something into the inbox. It runs under the hub's mutex.
func (p *Peer) deliver(run func()) {
	p.inbox = append(p.inbox, delivery{time.Now().Add(p.hub.latency), run})
	time.AfterFunc(p.hub.latency, p.drain)
}

// drain runs what is due, in order and one at a time.
func (p *Peer) drain() {
	p.running.Lock()
	defer p.running.Unlock()
	for {
		p.hub.mu.Lock()
		if p.thawed != nil || p.dead || len(p.inbox) == 0 || time.Now().Before(p.inbox[0].due) {
			p.hub.mu.Unlock()
			return
		}
		next := p.inbox[0]
		p.inbox = p.inbox[1:]
		p.hub.mu.Unlock()
		next.run()
	}
}

// Link implements registry.Peers.
func (p *Peer) Link() (server, client string, servers int) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.server == "" {
		return "", "", 0
	}
	return p.server, p.client, p.servers
}

// Publish implements registry.Peers.
func (p *Peer) Publish(subject string, data []byte) error {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case p.thawed != nil:
		p.outbox = append(p.outbox, func() { _ = p.Publish(subject, data) }) // lost, if it is cut off by then
		return nil
	case p.server == "" || p.dead:
		return errNotConnected
	}
	to, _ := h.listeners(p, subject)
	for _, peer := range to {
		for _, cb := range peer.subs[subject] {
			peer.deliver(func() { cb.call(func(fn func([]byte) []byte) { fn(data) }) })
		}
	}
	return nil
}

// Request implements registry.Peers.
func (p *Peer) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	h := p.hub
	h.mu.Lock()
	for p.thawed != nil {
		thawed := p.thawed
		h.mu.Unlock()
		select {
		case <-thawed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		h.mu.Lock()
	}
	if p.server == "" || p.dead {
		h.mu.Unlock()
		return nil, errNotConnected
	}
	to, interested := h.listeners(p, subject)
	if !interested {
		h.mu.Unlock()
		return nil, &noListener{subject}
	}
	r := &request{p, make(chan []byte, 1)}
	for _, peer := range to {
		for _, cb := range peer.subs[subject] {
			peer.deliver(func() {
				cb.call(func(fn func([]byte) []byte) {
					if answer := fn(data); answer != nil {
						r.reply(answer)
					}
				})
			})
		}
	}
	h.mu.Unlock()
	return r.await(ctx)
}

// Subscribe implements registry.Peers.
func (p *Peer) Subscribe(subject string, fn func(data []byte) []byte) (stop func(), err error) {
	cb := &callback[func([]byte) []byte]{fn: fn}
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.subs[subject] = append(p.subs[subject], cb)
	return func() {
		p.hub.mu.Lock()
		p.subs[subject] = slices.DeleteFunc(slices.Clone(p.subs[subject]), func(c *callback[func([]byte) []byte]) bool { return c == cb })
		p.hub.mu.Unlock()
		cb.stop()
	}, nil
}

// NotifyLink implements registry.Peers.
func (p *Peer) NotifyLink(fn func(up bool, why string)) (stop func()) {
	cb := &callback[func(bool, string)]{fn: fn}
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.links = append(p.links, cb)
	up := p.server != ""
	p.deliver(func() { cb.call(func(fn func(bool, string)) { fn(up, "") }) })
	return cb.stop
}

// NotifyLost implements registry.Peers. On a peer that is no node it never calls.
func (p *Peer) NotifyLost(fn func(server, client, reason string)) (stop func()) {
	cb := &callback[func(_, _, _ string)]{fn: fn}
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.losts = append(p.losts, cb)
	return cb.stop
}

// Cut ends the connection. Nodes hear reason; with "" nobody tells them.
func (p *Peer) Cut(reason string) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.server == "" {
		return
	}
	server, client := p.server, p.client
	p.unlink(reason)
	p.hub.tellLost(server, client, reason)
}

// unlink runs under the hub's mutex.
func (p *Peer) unlink(why string) {
	p.server, p.client = "", ""
	p.tellLink(false, why)
}

// Reconnect connects again, to the same server or another, under a new client id. A connection that stands is ended first, without a word.
func (p *Peer) Reconnect(server string) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.server, p.client = server, p.hub.client()
	p.tellLink(true, "connected")
}

// Suspend tells the process that it is not on the quorum's side, or is again, while its connection stands: a node that has lost its routes.
func (p *Peer) Suspend(up bool) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.tellLink(up, "routes")
}

func (p *Peer) tellLink(up bool, why string) {
	for _, cb := range p.links {
		p.deliver(func() { cb.call(func(fn func(bool, string)) { fn(up, why) }) })
	}
}

// Kill ends the process: its connection ends, of which nodes hear reason, and nothing reaches it or comes from it ever again.
func (p *Peer) Kill(reason string) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	server, client := p.server, p.client
	p.dead, p.server, p.client = true, "", ""
	clear(p.subs)
	if server != "" {
		p.hub.tellLost(server, client, reason)
	}
}

// Freeze stops the process: what is sent to it waits, as does what it sends. Its subscriptions and its connection stand.
func (p *Peer) Freeze() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.thawed == nil {
		p.thawed = make(chan struct{})
	}
}

// Thaw lets it go on.
func (p *Peer) Thaw() {
	p.hub.mu.Lock()
	if p.thawed == nil {
		p.hub.mu.Unlock()
		return
	}
	close(p.thawed)
	p.thawed = nil
	out := p.outbox
	p.outbox = nil
	p.hub.mu.Unlock()
	for _, send := range out {
		send()
	}
	p.drain()
}
