package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// discover finds out what the server is. step says what was asked last.
func (h *HTTP) discover(ctx context.Context) (step string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*h.opts.Timeout, fmt.Errorf("no answer within %s", 3*h.opts.Timeout))
	defer cancel()
	result, err := h.askModern(ctx, "server/discover", nil)
	if info, ok := servers.ReadDiscover(result); err == nil && ok {
		h.info = info
		return "server/discover", nil
	}
	if remote, ok := errors.AsType[*RemoteError](err); ok && remote.Status == 0 || ctx.Err() != nil {
		return "server/discover", cause(ctx, err)
	}
	p, info, err := h.handshake(ctx)
	if err == nil {
		_ = p.Close()
		h.info = info
		return "initialize", nil
	}
	if remote, ok := errors.AsType[*RemoteError](err); !ok || remote.Status/100 != 4 {
		return "initialize", cause(ctx, err)
	}
	h.how = sse // what answers 400, 404 or 405 to a POST may be older
	if p, info, older := h.handshake(ctx); older == nil {
		_ = p.Close()
		h.info = info
		return "initialize", nil
	}
	h.how = streamable
	return "initialize", cause(ctx, err)
}

// handshake opens a session of the bridge's own.
func (h *HTTP) handshake(ctx context.Context) (talker, servers.Info, error) {
	h.mu.Lock()
	p := h.newConversation(func() {}).(talker)
	h.mu.Unlock()
	client := map[string]string{"name": h.opts.ClientName, "version": h.opts.ClientVersion}
	msg, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": map[string]any{
		"protocolVersion": servers.LegacyVersion, "capabilities": struct{}{}, "clientInfo": client,
	}})
	if err != nil {
		return nil, servers.Info{}, err
	}
	result, err := roundTrip(ctx, p, msg)
	var info servers.Info
	if err == nil {
		info, err = servers.ReadInitialize(result)
	}
	if err == nil {
		err = p.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	}
	if err != nil {
		if s, ok := p.(*httpSession); ok && s.refused() != nil {
			err = s.refused()
		}
		_ = p.Close()
		return nil, info, err
	}
	return p, info, nil
}

// roundTrip makes one request of a fresh pipe.
func roundTrip(ctx context.Context, p wire.Pipe, msg json.RawMessage) (json.RawMessage, error) {
	if err := p.Write(ctx, msg); err != nil {
		return nil, err
	}
	for {
		raw, err := p.Read(ctx)
		if err != nil {
			return nil, err
		}
		var a answer
		if err := json.Unmarshal(raw, &a); err != nil || a.Method != "" {
			continue
		}
		if a.Error != nil {
			return nil, a.Error
		}
		return a.Result, nil
	}
}

// askModern makes a request of the bridge's own of a modern server.
func (h *HTTP) askModern(ctx context.Context, method string, cursor json.RawMessage) (json.RawMessage, error) {
	msg, err := ownRequest(method, cursor)
	if err == nil {
		msg, err = wire.Scan(msg.WithMeta(servers.ModernVersion))
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	var a answer
	answered, err := h.exchange(ctx, msg, func(raw json.RawMessage) {
		var one answer
		if json.Unmarshal(raw, &one) == nil && one.Method == "" {
			a = one
		}
	})
	switch {
	case err != nil:
		return nil, err
	case !answered:
		return nil, errors.New("the server ended the answer before it was there")
	case a.Error != nil:
		return nil, a.Error
	}
	return a.Result, nil
}

// health asks whether the server is there, without a session.
func (h *HTTP) health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	if h.opts.HealthPath == "" && h.Info().Era == servers.Modern {
		_, err := h.askModern(ctx, "server/discover", nil)
		if _, refused := errors.AsType[*wire.Error](err); refused {
			return nil
		}
		return err
	}
	if h.opts.HealthPath == "" {
		return h.ping(ctx)
	}
	at, err := h.url.Parse(h.opts.HealthPath)
	if err != nil {
		return err
	}
	r, err := h.request(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "*/*")
	resp, err := h.do(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= 500 {
		return &RemoteError{URL: at.Redacted(), Status: resp.StatusCode}
	}
	return nil
}

// keepAsking looks after the server's health until Close.
func (h *HTTP) keepAsking() {
	for sleep(h.ctx, h.opts.Health) {
		if err := h.health(h.ctx); h.ctx.Err() == nil {
			h.mark(err)
		}
	}
}

// noticed marks a server as down that could not be reached. What it answered, with whatever status, shows that it is there.
func (h *HTTP) noticed(err error) {
	if remote, ok := errors.AsType[*RemoteError](err); ok && (remote.Status == 0 || remote.Status >= 502) {
		h.mark(err)
	}
}

// mark notes that the server is there (nil), or why not.
func (h *HTTP) mark(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.down
	switch h.down = err; {
	case was == nil && err != nil:
		h.since = time.Now()
		h.opts.Logger.Warn("the server is down", "url", h.url.Redacted(), "err", err)
		h.changed()
	case was != nil && err != nil:
		if was.Error() != err.Error() {
			h.changed()
		}
	case was != nil && err == nil:
		h.opts.Logger.Info("the server is back", "url", h.url.Redacted(), "after", round(time.Since(h.since)))
		h.changed()
		close(h.back)
		h.back = make(chan struct{})
	}
}
