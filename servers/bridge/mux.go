package bridge

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"sync"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// mux lets several conversations share one child that was initialised by somebody else. It gives each request and each progress token an
// id of its own, and the user's back in the answer. What the server says to nobody in particular goes to all; what it asks goes to nobody,
// as it cannot be told whom it means.
//
// Package wire does the like for calls (its conversation), and for another end: there each answer goes to one caller's reply subject and ends that
// call, and what belongs to no call is dropped. Here several pipes are to be had from one, each with its own initialize. Finding and replacing
// what stands in a message is the same work, and is wire's alone: Message.At and With.
type mux struct {
	c    *Child
	info servers.Info
	log  *slog.Logger

	ctx    context.Context // its own: ends with close
	cancel context.CancelFunc
	done   chan struct{} // pump has returned; err is set
	err    error

	mu      sync.Mutex
	ports   map[*port]struct{}
	pending map[string]borrowed // by the id that the child sees
	tokens  map[string]borrowed // by the progress token that it sees
	next    uint64
}

// borrowed is what stands in a message in the place of ours.
type borrowed struct {
	port *port
	was  json.RawMessage
	with string // of a request: the progress token that ends with it
}

func newMux(c *Child, info servers.Info, log *slog.Logger) *mux {
	m := &mux{
		c: c, info: info, log: log, done: make(chan struct{}),
		ports: map[*port]struct{}{}, pending: map[string]borrowed{}, tokens: map[string]borrowed{},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	go m.pump()
	return m
}

// close ends all conversations, and the goroutine.
func (m *mux) close() {
	m.cancel()
	<-m.done
}

// open starts a conversation. A legacy one begins with an initialize, which is answered here.
func (m *mux) open(legacy bool) *port {
	p := &port{m: m, legacy: legacy, in: make(chan json.RawMessage, childBuffer), closed: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ports[p] = struct{}{}
	return p
}

// size is how many legacy conversations are open.
func (m *mux) size() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.ports {
		if p.legacy {
			n++
		}
	}
	return n
}

// pump reads for everybody.
func (m *mux) pump() {
	defer close(m.done)
	for {
		msg, err := m.c.Read(m.ctx)
		if err != nil {
			if m.ctx.Err() != nil {
				err = io.ErrClosedPipe
			}
			m.err = err
			return
		}
		m.route(msg)
	}
}

func (m *mux) route(raw json.RawMessage) {
	msg, err := wire.Scan(raw)
	if err != nil {
		m.log.Debug("not understood", "err", err)
		return
	}
	switch {
	case msg.Request():
		_ = m.c.Write(m.ctx, wire.Unattended(msg)) // Read sees a child that has ended
	case msg.Response():
		m.respond(msg)
	case msg.Method == "notifications/progress":
		m.deliver(m.restore(msg, wire.PlaceProgress, m.tokens))
	case msg.Method == "notifications/cancelled":
		m.deliver(m.restore(msg, wire.PlaceCancelled, m.pending))
	default:
		m.deliver(m.restore(msg, wire.PlaceSubscription, m.pending))
	}
}

// respond gives an answer to who has asked, under the id that they know.
func (m *mux) respond(msg wire.Message) {
	m.mu.Lock()
	b, ok := m.pending[key(msg.ID())]
	if ok {
		delete(m.pending, key(msg.ID()))
		delete(m.tokens, b.with)
	}
	m.mu.Unlock()
	if !ok {
		return // whoever has asked is gone
	}
	b.port.put(msg.With(map[wire.Place]json.RawMessage{wire.PlaceID: b.was}))
}

// restore puts the user's own id into a notification that names one of ours at a place, and says whose it is: nil for everybody's.
func (m *mux) restore(msg wire.Message, at wire.Place, known map[string]borrowed) (json.RawMessage, *port) {
	m.mu.Lock()
	b, ok := known[key(msg.At(at))]
	m.mu.Unlock()
	if !ok {
		return msg.Raw, nil
	}
	return msg.With(map[wire.Place]json.RawMessage{at: b.was}), b.port
}

func (m *mux) deliver(raw json.RawMessage, owner *port) {
	if owner != nil {
		owner.put(raw)
		return
	}
	m.mu.Lock()
	all := make([]*port, 0, len(m.ports))
	for p := range m.ports {
		all = append(all, p)
	}
	m.mu.Unlock()
	for _, p := range all {
		p.put(append(json.RawMessage(nil), raw...))
	}
}

// lend replaces what the child must not see twice. m.mu is held.
func (m *mux) lend(in map[string]borrowed, b borrowed) (ours string) {
	m.next++
	ours = `"t` + strconv.FormatUint(m.next, 10) + `"`
	b.was = append(json.RawMessage(nil), b.was...) // the message it stands in may be large
	in[ours] = b
	return ours
}

// key is how an id of ours is looked up: they are strings without escapes, which every library gives back as they are.
func key(id json.RawMessage) string { return string(id) }
