package servers

import (
	"context"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// CallerOptions are those of a wire.Caller that has a registry, as a Transport's are: the end of an instance's lease ends its calls at once, an
// error says whether the name exists at all, and a request that nobody listened for though somebody is registered is sent once more. The caller
// may fill in the rest. The registry must outlive the Caller.
func CallerOptions(reg *registry.Registry) *wire.CallerOptions {
	return &wire.CallerOptions{
		Scope:      reg.Scope(),
		Ended:      func(ctx context.Context, o wire.Owner) <-chan string { return ended(ctx, reg, o) },
		Unanswered: func(to wire.Target) *wire.Error { return unanswered(reg, to) },
		Held:       func(to wire.Target) bool { return held(reg, to) },
	}
}

// Held tells whether the view knows somebody who is registered for a target: a name, the instance that is meant, or a member of the group.
func Held(reg *registry.Registry, to wire.Target) bool { return held(reg, to) }
