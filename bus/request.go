package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// Publish sends a message to whoever listens, at most once. It returns when the message is in the connection's buffer, not when somebody has it.
// Errors: ErrDisconnected at once while the connection is lost (nothing is kept for later), ErrClosed, ErrBadSubject, ErrTooLarge.
func (c *Conn) Publish(subject string, data []byte) error {
	if err := CheckSubject(subject); err != nil {
		return err
	}
	if err := c.nc.Publish(subject, data); err != nil {
		return translate(err)
	}
	return nil
}

// Request sends a message and waits for one answer. Errors: ErrNoResponders at once when nobody listens; ErrDisconnected when the
// connection is lost before the answer (the receiver may have acted); ErrBusy and the other errors of the wire that a Handler answered
// with; the context's error when it ends first. A context without a deadline waits as long as the connection lasts.
func (c *Conn) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	m, err := c.RequestMsg(ctx, &nats.Msg{Subject: subject, Data: data})
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// RequestMsg is Request with headers both ways. msg.Reply is ignored.
func (c *Conn) RequestMsg(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	if err := CheckSubject(msg.Subject); err != nil {
		return nil, err
	}
	session := c.link.session()
	if err := context.Cause(session); err != nil {
		return nil, err
	}
	// The answer comes to an inbox of this connection: when it is lost, so is the answer.
	rctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(session, func() { cancel(context.Cause(session)) })()
	answer, err := c.nc.RequestMsgWithContext(rctx, msg)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, c.sendError(rctx, err)
	}
	if code := answer.Header.Get(HeaderError); code != "" {
		return nil, errorFromWire(code, answer.Header.Get(HeaderServiceError))
	}
	return answer, nil
}

// control is the connection's control plane: many subscriptions with short messages, one channel and one goroutine for all.
type control struct {
	conn *Conn
	in   chan *nats.Msg
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	subs    map[*nats.Subscription]*callback[func([]byte) []byte]
	started bool
	closed  bool
}

// controlBacklog messages wait while a callback runs; more are dropped, and NATS' "slow consumer" is logged. A roll call of thousands is
// well within.
const controlBacklog = 16384

func newControl(c *Conn) *control {
	return &control{conn: c, stop: make(chan struct{}), done: make(chan struct{}), subs: map[*nats.Subscription]*callback[func([]byte) []byte]{}}
}

// Subscribe calls fn with each message on subject, which may have wildcards. What fn returns, if not nil, is the answer to a message that
// asks for one. This is for the control plane: all subscriptions of the connection share one goroutine, so their functions are called one
// at a time, in the order in which messages came, and fn must be quick: no waiting, no Request. It survives reconnects; messages in
// between are lost, as core NATS has it. Subscribe does not wait for the server (see Flush). stop waits until fn does not run: do not
// call it from fn. Errors: ErrClosed, ErrBadSubject.
func (c *Conn) Subscribe(subject string, fn func(data []byte) []byte) (stop func(), err error) {
	if err := CheckPattern(subject); err != nil {
		return nil, err
	}
	k := c.control
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	if !k.started {
		k.started = true
		k.in = make(chan *nats.Msg, controlBacklog)
		go k.run()
	}
	// Under the lock: no message is looked up before it is in the map.
	sub, err := c.nc.ChanSubscribe(subject, k.in)
	if err != nil {
		return nil, translate(err)
	}
	cb := &callback[func([]byte) []byte]{fn: fn}
	k.subs[sub] = cb
	return func() {
		_ = sub.Unsubscribe() // fails only where the connection is closed, and then there is nothing to end
		k.mu.Lock()
		delete(k.subs, sub)
		k.mu.Unlock()
		cb.stop()
	}, nil
}

func (k *control) run() {
	defer close(k.done)
	for {
		select {
		case <-k.stop:
			return
		case m := <-k.in:
			k.mu.Lock()
			cb := k.subs[m.Sub]
			k.mu.Unlock()
			if cb == nil {
				continue
			}
			cb.call(func(fn func([]byte) []byte) {
				answer := fn(m.Data)
				if answer == nil || m.Reply == "" {
					return
				}
				if err := m.Respond(answer); err != nil && !errors.Is(translate(err), ErrClosed) {
					k.conn.log.Debug("answer not sent", "conn", k.conn.name, "subject", m.Subject, "error", err)
				}
			})
		}
	}
}

func (k *control) close() {
	k.mu.Lock()
	started, closed := k.started, k.closed
	k.closed = true
	if !closed {
		close(k.stop)
	}
	k.mu.Unlock()
	if started {
		<-k.done
	}
}
