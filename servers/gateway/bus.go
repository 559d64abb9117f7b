package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// New makes a Gateway to the servers of reg's scope. It makes its requests on conn; both must outlive it. It ends with Close.
func New(conn *bus.Conn, reg *registry.Registry, opts *Options) (*Gateway, error) {
	if opts == nil {
		opts = &Options{}
	}
	callers := servers.CallerOptions(reg)
	callers.Logger = opts.Logger
	callers.MaxMessage = int(opts.MaxBody)
	caller, err := wire.NewCaller(conn, callers)
	if err != nil {
		return nil, err
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return newGateway(&onBus{conn: conn, caller: caller, endpoints: newEndpoints(conn, reg, caller, log)}, opts), nil
}

// onBus is the far side on the bus.
type onBus struct {
	conn      *bus.Conn
	caller    *wire.Caller
	endpoints *endpoints
}

func (b *onBus) healthy() bool { return b.conn.NATS().IsConnected() }

func (b *onBus) close() error { return errors.Join(b.endpoints.close(), b.caller.Close()) }

func (b *onBus) many(ctx context.Context, group string) (wire.Target, error) {
	return b.endpoints.of(ctx, group)
}

func (b *onBus) request(ctx context.Context, t wire.Target, msg json.RawMessage) (stream, error) {
	m, err := wire.Scan(msg)
	if err != nil {
		return nil, err
	}
	pipe, err := b.caller.Dial(t)
	if err != nil {
		return nil, err
	}
	if err := pipe.Write(ctx, msg); err != nil {
		_ = pipe.Close()
		return nil, err
	}
	return &pipeStream{pipe: pipe, id: string(m.ID())}, nil
}

func (b *onBus) open(ctx context.Context, t wire.Target, initialize json.RawMessage) (json.RawMessage, string, error) {
	return nil, "", &wire.Error{Code: codeVersion, Message: "only protocol versions without sessions are served here", Data: json.RawMessage(`{"supported":["2026-07-28"]}`)}
}

func (b *onBus) session(t wire.Target, id string) (session, error) { return nil, wire.ErrNoSession }

// pipeStream is one request in a conversation of its own.
type pipeStream struct {
	pipe  wire.Pipe
	id    string
	ended bool
}

func (s *pipeStream) read(ctx context.Context) (event, error) {
	if s.ended {
		return event{}, io.EOF
	}
	raw, err := s.pipe.Read(ctx)
	if err != nil {
		return event{}, err
	}
	m, err := wire.Scan(raw)
	s.ended = err == nil && m.Response()
	return event{msg: raw, last: s.ended}, nil
}

func (s *pipeStream) position() string { return "" }
func (s *pipeStream) close()           { _ = s.pipe.Close() }
