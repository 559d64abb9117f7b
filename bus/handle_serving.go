package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

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
