package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Handler answers a request, with m.Respond or m.RespondError, any number of times. ctx ends when a drain has taken too long or the
// connection was closed without one; a handler is to return then.
type Handler func(ctx context.Context, m *Message)

// Message is a request on its way to a Handler: NATS' message (Subject, Reply, Header, Data) and the ways to answer it.
type Message struct{ *nats.Msg }

// Respond answers. A message without reply subject takes no answer and no error.
func (m *Message) Respond(data []byte) error { return m.RespondMsg(&nats.Msg{Data: data}) }

// RespondMsg answers with headers. msg.Subject is set here.
func (m *Message) RespondMsg(msg *nats.Msg) error {
	if m.Reply == "" {
		return nil
	}
	msg.Subject = m.Reply
	if err := m.Msg.RespondMsg(msg); err != nil {
		return translate(err)
	}
	return nil
}

// RespondError answers with the code of a known error; any other goes out as internal, without its text.
func (m *Message) RespondError(err error) error {
	code, status, text := errorToWire(err)
	msg := &nats.Msg{Header: nats.Header{}}
	msg.Header.Set(HeaderError, code)
	msg.Header.Set(HeaderServiceError, text)
	msg.Header.Set(HeaderServiceCode, status)
	return m.RespondMsg(msg)
}

// HandleOptions bound a handling; nil is all defaults.
type HandleOptions struct {
	Concurrency int // handlers at once (0: 256)
	Queue       int // requests that wait for one of them (0: as many as Concurrency; less than 0: none)
}

const defaultConcurrency = 256

// Handling is a running Handle.
type Handling struct {
	serving *serving
	sub     *nats.Subscription
	handler Handler
	limit   int
	queue   int
	ctx     context.Context // the handlers', made here and ended by cut
	cut     context.CancelFunc
	once    sync.Once
	err     error

	mu      sync.Mutex
	running int
	waiting []*nats.Msg
	flushed chan struct{} // closed when all that NATS had delivered was taken
	idle    chan struct{} // closed when draining is complete
	drained bool
}

// Handle answers requests on subject with h, in the queue group queue or, with "", as the only kind of receiver. Up to Concurrency
// handlers run at once, each on a goroutine that lives as long as its request; as many again wait; a request beyond that is answered
// ErrBusy at once, by the header HeaderError: the caller learns it from Request and never meets silence. There is no goroutine for an
// idle handling, so thousands are fine. Handle does not wait for the server (see Flush). Errors: ErrClosed, ErrBadSubject.
func (c *Conn) Handle(subject, queue string, h Handler, opts *HandleOptions) (*Handling, error) {
	if opts == nil {
		opts = &HandleOptions{}
	}
	if err := CheckPattern(subject); err != nil {
		return nil, err
	}
	if queue != "" {
		if err := CheckSubject(queue); err != nil {
			return nil, err
		}
	}
	g := &Handling{
		serving: c.serving, handler: h, limit: opts.Concurrency, queue: opts.Queue,
		flushed: make(chan struct{}), idle: make(chan struct{}),
	}
	if g.limit <= 0 {
		g.limit = defaultConcurrency
	}
	if g.queue == 0 {
		g.queue = g.limit
	}
	g.ctx, g.cut = context.WithCancel(context.Background())
	if err := c.serving.add(g, subject, queue); err != nil {
		g.cut()
		return nil, err
	}
	return g, nil
}

// take gives a message to a handler, to the queue, or back.
func (g *Handling) take(m *nats.Msg) {
	g.mu.Lock()
	switch {
	case g.running < g.limit:
		g.running++
		g.mu.Unlock()
		go g.work(m)
		return
	case len(g.waiting) < g.queue:
		g.waiting = append(g.waiting, m)
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	g.serving.refuse(m, ErrBusy)
}

func (g *Handling) work(m *nats.Msg) {
	for m != nil {
		if g.ctx.Err() == nil {
			g.handler(g.ctx, &Message{m})
		} else {
			g.serving.refuse(m, ErrClosed)
		}
		g.mu.Lock()
		m = nil
		if len(g.waiting) > 0 {
			m = g.waiting[0]
			g.waiting[0] = nil
			g.waiting = g.waiting[1:]
		} else {
			g.running--
			g.finishLocked()
		}
		g.mu.Unlock()
	}
}

func (g *Handling) finishLocked() {
	if g.drained && g.running == 0 {
		select {
		case <-g.idle:
		default:
			close(g.idle)
		}
	}
}

// markDrained is called when the last message of the subscription has been taken.
func (g *Handling) markDrained() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.drained {
		g.drained = true
		close(g.flushed)
		g.finishLocked()
	}
}

// cutGrace is how long Close waits for handlers after it has ended their contexts.
const cutGrace = time.Second

// Close stops taking requests and waits until those that were taken are answered: what the server had delivered counts as taken, so nothing is
// lost; in a queue group the others go on. When ctx ends first, the handlers' contexts end; Close waits for them a second
// longer and returns the context's error. Closing twice is fine, and returns the same. Do not call it from the handler itself.
func (g *Handling) Close(ctx context.Context) error {
	g.once.Do(func() { g.err = g.close(ctx) })
	return g.err
}

func (g *Handling) close(ctx context.Context) error {
	g.serving.drain(ctx, g)
	select {
	case <-g.idle:
		g.cut()
		return nil
	case <-ctx.Done():
	}
	g.cut()
	g.markDrained() // what NATS still delivers is refused
	timer := time.NewTimer(cutGrace)
	defer timer.Stop()
	select {
	case <-g.idle:
	case <-timer.C:
	}
	return fmt.Errorf("bus: requests on %q were cut off: %w", g.sub.Subject, context.Cause(ctx))
}
