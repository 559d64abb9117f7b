package shim

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/era"
	"github.com/toolbus/toolbus/servers/wire"
)

// OnBus reaches whoever has a target, by a Caller and a view of the registry: servers.CallerOptions makes the options of such a Caller. log may be nil.
func OnBus(caller *wire.Caller, reg *registry.Registry, to wire.Target, log *slog.Logger) Bus {
	return &onBus{caller, reg, to, log}
}

type onBus struct {
	caller *wire.Caller
	reg    *registry.Registry
	to     wire.Target
	log    *slog.Logger
}

func (b *onBus) Dial() (wire.Pipe, error) { return b.caller.Dial(b.to) }

func (b *onBus) Translated() (wire.Pipe, error) {
	return era.NewSession(b.request, &era.SessionOptions{Logger: b.log}), nil
}

// request makes one modern request, in a conversation of its own.
func (b *onBus) request(ctx context.Context, msg json.RawMessage) (era.Stream, error) {
	pipe, err := b.caller.Dial(b.to)
	if err != nil {
		return nil, err
	}
	if err := pipe.Write(ctx, msg); err != nil {
		_ = pipe.Close() // nothing is in it
		return nil, err
	}
	return pipe, nil
}

func (b *onBus) Await(ctx context.Context) error {
	for !servers.Held(b.reg, b.to) {
		for _, err := range b.reg.Watch(ctx, &registry.WatchOptions{Name: b.to.Name, Group: b.to.Group}) {
			if errors.Is(err, registry.ErrLagged) {
				break
			}
			if err != nil {
				return err
			}
			if servers.Held(b.reg, b.to) {
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (b *onBus) Missing() *wire.Error {
	facts := wire.Facts{Name: b.to.Name, Group: b.to.Group, Executed: "no", Why: "nobody has registered it"}
	if b.to.Group != "" {
		facts.Why = "the group has no member"
		return wire.NewError(wire.CodeNoName, "no server is in group "+b.to.Group, facts)
	}
	return wire.NewError(wire.CodeNoName, "no server is registered as "+b.to.Name, facts)
}
