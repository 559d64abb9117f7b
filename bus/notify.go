package bus

import (
	"sync"
)

// serial runs functions one after another, in the order they came, on one goroutine of its own. It never blocks who hands one in: what
// waits is kept in memory, which is fine for events of connections and nothing else.
type serial struct {
	mu     sync.Mutex
	queue  []func()
	wake   chan struct{}
	closed bool
	done   chan struct{}
}

func newSerial() *serial {
	s := &serial{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *serial) do(fn func()) {
	s.mu.Lock()
	if !s.closed {
		s.queue = append(s.queue, fn)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *serial) run() {
	defer close(s.done)
	for range s.wake {
		for {
			s.mu.Lock()
			todo, closed := s.queue, s.closed
			s.queue = nil
			s.mu.Unlock()
			for _, fn := range todo {
				fn()
			}
			if len(todo) > 0 {
				continue
			}
			if closed {
				return
			}
			break
		}
	}
}

// close lets what waits run, then ends the goroutine and waits for it. Not to be called from one of the functions.
func (s *serial) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	<-s.done
}

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

// notifier tells events to all who asked for them: in order, never concurrently.
type notifier[F any] struct {
	serial *serial
	mu     sync.Mutex
	subs   map[*callback[F]]struct{}
}

func newNotifier[F any]() *notifier[F] {
	return &notifier[F]{serial: newSerial(), subs: map[*callback[F]]struct{}{}}
}

// add subscribes fn; first, if not nil, is what it is told before anything else. The stop that it returns waits until fn does not run.
func (n *notifier[F]) add(fn F, first func(F)) (stop func()) {
	cb := &callback[F]{fn: fn}
	n.mu.Lock()
	n.subs[cb] = struct{}{}
	if first != nil {
		n.serial.do(func() { cb.call(first) })
	}
	n.mu.Unlock()
	return func() {
		n.mu.Lock()
		delete(n.subs, cb)
		n.mu.Unlock()
		cb.stop()
	}
}

func (n *notifier[F]) tell(use func(F)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for cb := range n.subs {
		n.serial.do(func() { cb.call(use) })
	}
}

func (n *notifier[F]) close() { n.serial.close() }
