package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// watch listens for news of the server's lists until Close: over a legacy session of the bridge's own, or a subscription.
func (h *HTTP) watch() {
	first, pause := true, againFirst
	for h.ctx.Err() == nil {
		begun := time.Now()
		err := h.link(first)
		if h.ctx.Err() != nil {
			return
		}
		first = false
		h.noticed(err)
		h.opts.Logger.Debug("no news of the server's lists for now", "url", h.url.Redacted(), "err", err)
		if pause = min(2*pause, againMost); time.Since(begun) > againMost {
			pause = againFirst
		}
		h.mu.Lock()
		back := h.back
		h.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-back:
		case <-h.ctx.Done():
		}
	}
}

// link listens once, until that ends.
func (h *HTTP) link(first bool) error {
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	kick := make(chan struct{}, 1)
	news := func() {
		select {
		case kick <- struct{}{}:
		default:
		}
	}
	news()
	over := make(chan error, 1)
	var ask asker
	if h.Info().Era == servers.Modern {
		ask = h.askModern
		go func() { over <- h.subscribe(ctx, news) }()
	} else {
		p, info, err := h.handshake(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		h.mark(nil)
		m := newMux(p, info, h.opts.Logger, news)
		defer m.close()
		own := m.openOwn()
		ask = own.ask
		h.connect(m, info)
		defer h.connect(nil, info)
		go func() {
			<-m.done
			over <- m.err
		}()
	}
	for {
		select {
		case err := <-over:
			return err
		case <-kick:
		case <-h.ctx.Done():
			cancel()
			<-over
			return h.ctx.Err()
		}
		info, now, err := look(ctx, h.Info(), first, ask)
		first = false
		if err != nil {
			h.opts.Logger.Info("the server's lists are not known", "url", h.url.Redacted(), "err", err)
		}
		if now.counts != nil {
			h.mark(nil)
			h.show(info, now)
		}
	}
}

// connect makes the bridge's own session known to those who share it; nil: it has ended.
func (h *HTTP) connect(m *mux, info servers.Info) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line = m
	if m == nil {
		return
	}
	if !bytes.Equal(info.Result, h.info.Result) {
		h.info = info
		h.changed()
	}
	close(h.linked)
	h.linked = make(chan struct{})
}

// show notes what the server is and lists.
func (h *HTTP) show(info servers.Info, now lists) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = now.rules
	if !now.same(h.lists) || !bytes.Equal(info.Result, h.info.Result) {
		h.info, h.lists = info, now
		h.changed()
	}
}

// subscribe listens for news of a modern server's lists.
func (h *HTTP) subscribe(ctx context.Context, news func()) error {
	want, _ := json.Marshal(map[string]any{"notifications": map[string]bool{"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true}})
	msg, err := wire.Scan(json.RawMessage(`{"jsonrpc":"2.0","id":"news","method":"` + methodListen + `","params":` + string(want) + `}`))
	if err == nil {
		msg, err = wire.Scan(msg.WithMeta(servers.ModernVersion))
	}
	if err != nil {
		return err
	}
	_, err = h.exchange(ctx, msg, func(raw json.RawMessage) {
		if m, err := wire.Scan(raw); err == nil && strings.HasSuffix(m.Method, "/list_changed") {
			news()
		}
	})
	return err
}

// errNoSession: the bridge has no session of its own with the server at the moment.
var errNoSession = errors.New("bridge: there is no session with the server yet")

// ping asks over the bridge's own session whether the server is there.
func (h *HTTP) ping(ctx context.Context) error {
	h.mu.Lock()
	m := h.line
	h.mu.Unlock()
	if m == nil {
		p, _, err := h.handshake(ctx)
		if err == nil {
			_ = p.Close()
		}
		return err
	}
	p := m.openOwn()
	if p == nil {
		return errNoSession
	}
	defer p.Close()
	_, err := p.ask(ctx, "ping", nil)
	if refused, ok := errors.AsType[*wire.Error](err); ok && !refused.Known() {
		return nil
	}
	return err
}

// lent is the conversation of all requests without a session with a legacy server, over the bridge's own session.
type lent struct {
	h      *HTTP
	closed chan struct{}
	once   sync.Once
	got    chan struct{} // closed: port is set

	mu   sync.Mutex
	port *port
}

func newLent(h *HTTP) *lent {
	return &lent{h: h, closed: make(chan struct{}), got: make(chan struct{})}
}

// Write sends a message over the session that there is, or comes within the time for a start.
func (l *lent) Write(ctx context.Context, msg json.RawMessage) error {
	p, err := l.enter(ctx)
	if err != nil {
		return err
	}
	return p.Write(ctx, msg)
}

func (l *lent) enter(ctx context.Context) (*port, error) {
	patience := time.NewTimer(l.h.opts.Timeout)
	defer patience.Stop()
	for {
		l.mu.Lock()
		if l.port != nil {
			defer l.mu.Unlock()
			return l.port, nil
		}
		l.h.mu.Lock()
		m, linked, down := l.h.line, l.h.linked, l.h.down
		l.h.mu.Unlock()
		if m != nil {
			if p := m.open(false); p != nil {
				l.port = p
				close(l.got)
				l.mu.Unlock()
				return p, nil
			}
		}
		l.mu.Unlock()
		if down != nil {
			return nil, failed(down)
		}
		select {
		case <-linked:
		case <-l.closed:
			return nil, io.ErrClosedPipe
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-patience.C:
			return nil, failed(errNoSession)
		}
	}
}

// Read waits for what the server says.
func (l *lent) Read(ctx context.Context) (json.RawMessage, error) {
	select {
	case <-l.got:
		return l.port.Read(ctx)
	case <-l.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the conversation, and leaves the session as it is.
func (l *lent) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.port != nil {
			l.port.Close()
		}
	})
	return nil
}
