package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// port is one conversation of a mux: a wire.Pipe.
type port struct {
	m      *mux
	legacy bool
	own    bool // the bridge's: it wants answers alone
	in     chan json.RawMessage
	closed chan struct{}
	once   sync.Once
}

// put waits while the port's user is slow, and everybody else with it.
func (p *port) put(raw json.RawMessage) {
	select {
	case p.in <- raw:
	case <-p.closed:
	case <-p.m.ctx.Done():
	}
}

func (p *port) Read(ctx context.Context) (json.RawMessage, error) {
	select {
	case <-p.closed:
		return nil, io.ErrClosedPipe
	default:
	}
	select {
	case raw := <-p.in:
		return raw, nil
	case <-p.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.m.done:
	}
	select {
	case raw := <-p.in: // said before the end
		return raw, nil
	default:
		return nil, p.m.err
	}
}

func (p *port) Write(ctx context.Context, raw json.RawMessage) error {
	select {
	case <-p.closed:
		return io.ErrClosedPipe
	case <-p.m.done:
		return p.m.err
	default:
	}
	msg, err := wire.Scan(raw)
	if err != nil {
		return &wire.Error{Code: -32700, Message: err.Error()}
	}
	switch {
	case p.legacy && msg.Method == "initialize" && msg.Request():
		return p.initialize(ctx, msg)
	case p.legacy && msg.Method == "notifications/initialized", msg.Response():
		return nil // the child has been told; and it has not asked
	case msg.Request() && msg.Method == methodListen && p.m.listen(p, msg):
		return nil
	case msg.Request():
		return p.request(ctx, msg)
	case msg.Method == "notifications/cancelled":
		if raw = p.cancelled(msg); raw == nil {
			return nil
		}
	}
	return p.m.c.Write(ctx, raw)
}

// initialize answers as the child has answered the bridge.
func (p *port) initialize(ctx context.Context, msg wire.Message) error {
	if p.m.info.Era != servers.Legacy {
		return refusal(-32022, fmt.Sprintf("unsupported protocol version: this server speaks %s", p.m.info.Version))
	}
	answer := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, msg.ID(), p.m.info.Result)
	select {
	case p.in <- answer:
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *port) request(ctx context.Context, msg wire.Message) error {
	with := map[wire.Place]json.RawMessage{}
	token := ""
	p.m.mu.Lock()
	switch {
	case p.m.over:
		p.m.mu.Unlock()
		return p.m.err
	case p.m.rested:
		p.m.mu.Unlock()
		return errRested
	}
	if !p.own {
		p.m.used = time.Now()
	}
	if was := msg.At(wire.PlaceToken); was != nil {
		token = p.m.lend(p.m.tokens, borrowed{port: p, was: was})
		with[wire.PlaceToken] = json.RawMessage(token)
	}
	id := p.m.lend(p.m.pending, borrowed{port: p, was: msg.ID(), with: token})
	with[wire.PlaceID] = json.RawMessage(id)
	p.m.mu.Unlock()
	err := p.m.c.Write(ctx, msg.With(with))
	if err != nil {
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		if _, ours := p.m.pending[id]; !ours {
			return nil // it is answered already, as the child has ended
		}
		delete(p.m.pending, id)
		delete(p.m.tokens, token)
	}
	return err
}

// orphans takes out the requests that a child has not answered, and will not any more.
func (p *port) orphans() (ids []json.RawMessage) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	for ours, b := range p.m.pending {
		if b.port == p {
			ids = append(ids, b.was)
			delete(p.m.pending, ours)
		}
	}
	p.m.listens.drop(func(u *listener) bool {
		if u.port == p {
			ids = append(ids, u.id)
		}
		return u.port == p
	})
	return ids
}

// cancelled names the request by the id that the child knows, and forgets it: no answer comes back any more. nil: the child knows none, there is nothing to cancel.
func (p *port) cancelled(msg wire.Message) json.RawMessage {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	was := string(msg.At(wire.PlaceCancelled))
	if p.m.listens.drop(func(u *listener) bool { return u.port == p && string(u.id) == was }) {
		return nil
	}
	for ours, b := range p.m.pending {
		if b.port == p && string(b.was) == was {
			delete(p.m.pending, ours) // most servers do not answer it any more
			delete(p.m.tokens, b.with)
			p.m.used = time.Now()
			return msg.With(map[wire.Place]json.RawMessage{wire.PlaceCancelled: json.RawMessage(ours)})
		}
	}
	return nil
}

// Close takes the port out; answers that are still to come for it are dropped.
func (p *port) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		delete(p.m.ports, p)
		p.m.listens.drop(func(u *listener) bool { return u.port == p })
		for _, known := range []map[string]borrowed{p.m.pending, p.m.tokens} {
			for ours, b := range known {
				if b.port == p {
					delete(known, ours)
				}
			}
		}
	})
	return nil
}
