package registrytest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// Hub is a cluster's core messaging and its events, in memory. It has no goroutine of its own and needs no Close. Its methods and those of its
// peers may be called concurrently.
type Hub struct {
	mu      sync.Mutex
	latency time.Duration
	clients int
	peers   []*Peer
	filter  func(from, to *Peer, subject string) bool
}

// NewHub makes a hub in which each message takes latency.
func NewHub(latency time.Duration) *Hub { return &Hub{latency: latency} }

// Filter has each message asked about: one for which pass returns false is lost without a trace, as in a broken network. nil lets all through.
func (h *Hub) Filter(pass func(from, to *Peer, subject string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filter = pass
}

// PeerOptions describe a process's connection; nil is a plain one that knows one server.
type PeerOptions struct {
	Node    bool // it hears of lost connections and servers
	Servers int  // how many servers it could use; 0 is 1
}

// Connect adds a process, connected to a server.
func (h *Hub) Connect(server string, opts *PeerOptions) *Peer {
	if opts == nil {
		opts = &PeerOptions{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &Peer{hub: h, node: opts.Node, servers: max(opts.Servers, 1), server: server, client: h.client(), subs: map[string][]*callback[func([]byte) []byte]{}}
	h.peers = append(h.peers, p)
	return p
}

func (h *Hub) client() string {
	h.clients++
	return strconv.Itoa(h.clients)
}

// LoseServer ends a server with every connection to it. Nodes elsewhere hear reason; with "" nobody tells them. What its own nodes do
// then is the test's affair: kill them.
func (h *Hub) LoseServer(server, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.peers {
		if p.server == server {
			p.unlink("the server is lost")
		}
	}
	h.tellLost(server, "", reason)
}

// ReportLost tells the nodes of a loss, true or not.
func (h *Hub) ReportLost(server, client, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tellLost(server, client, reason)
}

// tellLost runs under mu.
func (h *Hub) tellLost(server, client, reason string) {
	if reason == "" {
		return
	}
	for _, p := range h.peers {
		if !p.node || p.server == "" || p.dead {
			continue
		}
		for _, cb := range p.losts {
			p.deliver(func() { cb.call(func(fn func(_, _, _ string)) { fn(server, client, reason) }) })
		}
	}
}

// listeners runs under mu: who gets what from sends to subject. interested is false where nobody listens at all.
func (h *Hub) listeners(from *Peer, subject string) (to []*Peer, interested bool) {
	for _, p := range h.peers {
		if p.server == "" || p.dead || len(p.subs[subject]) == 0 {
			continue
		}
		interested = true
		if h.filter == nil || h.filter(from, p, subject) {
			to = append(to, p)
		}
	}
	return to, interested
}

// errNotConnected is what a peer without a connection gets.
var errNotConnected = errors.New("registrytest: not connected")

// noListener is the error of a request that nobody listens for.
type noListener struct{ subject string }

// Error says the subject.
func (e *noListener) Error() string { return "registrytest: no responders on " + e.subject }

// NoResponders is true.
func (e *noListener) NoResponders() bool { return true }

// callback is a function that can be stopped: after stop has returned it does not run and will not run.
type callback[F any] struct {
	mu      sync.Mutex
	stopped bool
	fn      F
}

func (c *callback[F]) call(use func(F)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		use(c.fn)
	}
}

func (c *callback[F]) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}

var _ registry.Peers = (*Peer)(nil)

// request is how an answer finds its way back.
type request struct {
	peer   *Peer
	answer chan []byte
}

func (r *request) reply(data []byte) {
	r.peer.hub.mu.Lock()
	defer r.peer.hub.mu.Unlock()
	if r.peer.server != "" && !r.peer.dead {
		r.peer.deliver(func() {
			select {
			case r.answer <- data:
			default: // another was first
			}
		})
	}
}

// await waits for the first answer.
func (r *request) await(ctx context.Context) ([]byte, error) {
	select {
	case data := <-r.answer:
		return data, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
