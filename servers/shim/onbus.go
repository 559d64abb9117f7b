package shim

import (
	"context"
	"errors"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// OnBus reaches whoever has a target, by a Caller and a view of the registry: servers.CallerOptions makes the options of such a Caller.
func OnBus(caller *wire.Caller, reg *registry.Registry, to wire.Target) Bus {
	return &onBus{caller, reg, to}
}

type onBus struct {
	caller *wire.Caller
	reg    *registry.Registry
	to     wire.Target
}

func (b *onBus) Dial() (wire.Pipe, error) { return b.caller.Dial(b.to) }

func (b *onBus) Translated() (wire.Pipe, error) { return nil, nil }

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
