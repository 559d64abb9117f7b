package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Handler answers a request, with m.Respond or m.RespondError, any number of times. ctx ends when a drain has taken too long or the connection was
// closed without one; a handler is to return then.
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

// Handle answers requests on subject with h, in the queue group queue or, with "", as the only kind of receiver. Up to Concurrency handlers run
// at once, each on a goroutine that lives as long as its request; as many again wait; a request beyond that is answered ErrBusy at once, by the header
// HeaderError: the caller learns it from Request and never meets silence. There is no goroutine for an idle handling, so thousands are fine.
// Handle does not wait for the server (see Flush). Errors: ErrClosed, ErrBadSubject.
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
	g := &Handling{serving: c.serving, handler: h, limit: opts.Concurrency, queue: opts.Queue, flushed: make(chan struct{}), idle: make(chan struct{})}
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
	timer := time.NewTimer(cutGrace)
	defer timer.Stop()
	select {
	case <-g.idle:
	case <-timer.C:
	}
	return fmt.Errorf("bus: requests on %q were cut off: %w", g.sub.Subject, context.Cause(ctx))
}

// serving is what the handlings of a connection share: one channel and one goroutine that never waits.
type serving struct {
	conn *Conn
	in   chan *nats.Msg
	stop chan struct{}
	done chan struct{}

	mu      sync.RWMutex
	subs    map[*nats.Subscription]*Handling
	started bool
	closed  bool
}

// servingBacklog is only a buffer between nats.go's reader and our goroutine, which hands messages on without waiting.
const servingBacklog = 65536

func newServing(c *Conn) *serving {
	return &serving{conn: c, stop: make(chan struct{}), done: make(chan struct{}), subs: map[*nats.Subscription]*Handling{}}
}

func (s *serving) used() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.started
}

func (s *serving) add(g *Handling, subject, queue string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if !s.started {
		s.started = true
		s.in = make(chan *nats.Msg, servingBacklog)
		go s.run()
	}
	sub, err := s.conn.nc.ChanQueueSubscribe(subject, queue, s.in)
	if err != nil {
		return translate(err)
	}
	g.sub = sub
	s.subs[sub] = g
	return nil
}

func (s *serving) run() {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case m := <-s.in:
			s.mu.RLock()
			g := s.subs[m.Sub]
			s.mu.RUnlock()
			switch {
			case g == nil: // cut off before it was taken
				s.refuse(m, ErrClosed)
			case m.Subject == "": // our own mark: see drain
				g.markDrained()
			default:
				g.take(m)
			}
		}
	}
}

// refuse answers a request that no handler will see.
func (s *serving) refuse(m *nats.Msg, why error) {
	if err := (&Message{m}).RespondError(why); err != nil {
		s.conn.log.Debug("refusal not sent", "conn", s.conn.name, "subject", m.Subject, "refusal", why, "error", err)
	}
}

// drain ends the subscription and waits until what it had delivered is taken, or ctx ends.
func (s *serving) drain(ctx context.Context, g *Handling) {
	defer func() {
		s.mu.Lock()
		delete(s.subs, g.sub)
		s.mu.Unlock()
	}()
	if s.conn.nc.IsConnected() {
		// UNSUB, then a PING: with its PONG everything that the server had sent is in the channel.
		gone := make(chan struct{})
		g.sub.SetClosedHandler(func(string) { close(gone) })
		if err := g.sub.Drain(); err == nil {
			select {
			case <-gone:
			case <-ctx.Done():
			}
		}
	} else {
		_ = g.sub.Unsubscribe() // nobody delivers to it
	}
	// The channel keeps order: when this mark comes out, all before it were taken.
	select {
	case s.in <- &nats.Msg{Sub: g.sub}:
	case <-s.done:
		g.markDrained()
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-g.flushed:
	case <-s.done:
		g.markDrained()
	case <-ctx.Done():
	}
}

// close drains all handlings side by side.
func (s *serving) close(timeout time.Duration) error {
	s.mu.Lock()
	s.closed = true
	all := make([]*Handling, 0, len(s.subs))
	for _, g := range s.subs {
		all = append(all, g)
	}
	s.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, g := range all {
		wg.Go(func() { errs[i] = g.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// abort ends all handlers' contexts and the goroutine.
func (s *serving) abort() {
	s.mu.Lock()
	s.closed = true
	for _, g := range s.subs {
		g.cut()
	}
	started := s.started
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	if started {
		<-s.done
	}
}
