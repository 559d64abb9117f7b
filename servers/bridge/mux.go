package bridge

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// talker is a pipe that says why it has ended.
type talker interface {
	wire.Pipe
	Err() error // nil before the end
}

// mux lets several conversations share one child that was initialised by somebody else. It gives each request and each progress token an
// id of its own, and the user's back in the answer. What the server says to nobody in particular goes to all; what it asks goes to nobody,
// as it cannot be told whom it means.
//
// Package wire does the like for calls (its conversation), and for another end: there each answer goes to one caller's reply subject and ends that
// call, and what belongs to no call is dropped. Here several pipes are to be had from one, each with its own initialize, and the bridge itself
// is a user too. Finding and replacing what stands in a message is the same work, and is wire's alone: Message.At and With.
type mux struct {
	c    talker
	info servers.Info
	log  *slog.Logger
	news func() // is called when the server says that a list of its has changed

	ctx    context.Context // its own: ends with close
	cancel context.CancelFunc
	done   chan struct{} // pump has returned; err is set
	err    error

	mu      sync.Mutex
	ports   map[*port]struct{}
	pending map[string]borrowed // by the id that the child sees
	tokens  map[string]borrowed // by the progress token that it sees
	next    uint64
	used    time.Time // the last request came, or was answered
	over    bool      // pump ends
	rested  bool      // nobody used it, and it is ended for that
	listens listens
}

// borrowed is what stands in a message in the place of ours.
type borrowed struct {
	port *port
	was  json.RawMessage
	with string // of a request: the progress token that ends with it
}

// newMux starts one. news is called when the server says that a list of its has changed, by who reads: it does not wait.
func newMux(c talker, info servers.Info, log *slog.Logger, news func()) *mux {
	m := &mux{
		c: c, info: info, log: log, news: news, done: make(chan struct{}),
		ports: map[*port]struct{}{}, pending: map[string]borrowed{}, tokens: map[string]borrowed{}, used: time.Now(),
	}
	m.listens.init()
	m.ctx, m.cancel = context.WithCancel(context.Background())
	go m.pump()
	return m
}

// close ends all conversations, and the goroutine.
func (m *mux) close() {
	m.cancel()
	<-m.done
}

// open starts a conversation. A legacy one begins with an initialize, which is answered here. nil: the child is ended as it was idle.
func (m *mux) open(legacy bool) *port { return m.enter(&port{legacy: legacy}) }

// openOwn starts a conversation of the bridge's.
func (m *mux) openOwn() *port { return m.enter(&port{own: true}) }

func (m *mux) enter(p *port) *port {
	p.m, p.in, p.closed = m, make(chan json.RawMessage, childBuffer), make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rested {
		return nil
	}
	m.ports[p] = struct{}{}
	return p
}

// size is how many legacy conversations are open.
func (m *mux) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.legacies()
}

func (m *mux) legacies() (n int) {
	for p := range m.ports {
		if p.legacy {
			n++
		}
	}
	return n
}

// rest takes no more requests if there was none for a while, and says how long it is until there can be. 0: it takes none any more.
func (m *mux) rest(idle time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	busy := m.legacies() > 0 || len(m.listens.users) > 0
	for _, b := range m.pending {
		busy = busy || !b.port.own
	}
	if busy {
		return max(idle, time.Millisecond)
	}
	if left := idle - time.Since(m.used); left > 0 {
		return left
	}
	m.rested = true
	return 0
}

// pump reads for everybody.
func (m *mux) pump() {
	defer close(m.done)
	for {
		msg, err := m.c.Read(m.ctx)
		if err != nil {
			m.mu.Lock()
			switch {
			case m.rested:
				err = errRested
			case m.ctx.Err() != nil && m.c.Err() != nil:
				err = m.c.Err()
			case m.ctx.Err() != nil:
				err = io.ErrClosedPipe
			}
			m.err, m.over = err, true
			m.mu.Unlock()
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
		if strings.HasSuffix(msg.Method, "/list_changed") {
			m.news()
		}
		if !m.heard(msg) {
			m.deliver(m.restore(msg, wire.PlaceSubscription, m.pending))
		}
	}
}

// respond gives an answer to who has asked, under the id that they know.
func (m *mux) respond(msg wire.Message) {
	m.mu.Lock()
	b, ok := m.pending[key(msg.ID())]
	if ok {
		delete(m.pending, key(msg.ID()))
		delete(m.tokens, b.with)
		m.used = time.Now()
	}
	m.mu.Unlock()
	switch {
	case ok:
		b.port.put(msg.With(map[wire.Place]json.RawMessage{wire.PlaceID: b.was}))
	default: // whoever has asked is gone
		m.unheard(msg)
	}
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
		if !p.own {
			all = append(all, p)
		}
	}
	m.mu.Unlock()
	for _, p := range all {
		p.put(append(json.RawMessage(nil), raw...))
	}
}

// lend replaces what the child must not see twice. m.mu is held.
func (m *mux) lend(in map[string]borrowed, b borrowed) (ours string) {
	ours = m.name()
	b.was = append(json.RawMessage(nil), b.was...) // the message it stands in may be large
	in[ours] = b
	return ours
}

// name makes an id. m.mu is held.
func (m *mux) name() string {
	m.next++
	return `"t` + strconv.FormatUint(m.next, 10) + `"`
}

// key is how an id of ours is looked up: they are strings without escapes, which every library gives back as they are.
func key(id json.RawMessage) string { return string(id) }
