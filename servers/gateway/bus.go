package gateway

import (
	"context"
	"encoding/json"
	"errors"
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
	callers.Idle = opts.Idle
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
	s, err := b.caller.Request(ctx, t, msg)
	if err != nil {
		return nil, err
	}
	return busStream{s}, nil
}

func (b *onBus) open(ctx context.Context, t wire.Target, initialize json.RawMessage) (json.RawMessage, string, error) {
	answer, r, err := b.caller.Open(ctx, t, initialize)
	if err != nil || r == nil {
		return answer, "", err
	}
	return answer, r.ID(), nil
}

func (b *onBus) session(t wire.Target, id string) (session, error) {
	r, err := b.caller.Remote(t.Name, id)
	if err != nil {
		return nil, err
	}
	return busSession{r}, nil
}
