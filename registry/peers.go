package registry

import (
	"context"
	"errors"
)

// Peers is how the processes of a scope hear of one another beside the log. Nothing that arrives this way is ever believed alone: it
// raises a question that the log answers. *bus.Conn is one.
type Peers interface {
	// Link names this process's own connection as NotifyLost on other processes would name it, and says how many servers it could use.
	// All is empty while there is no connection.
	Link() (server, client string, servers int)
	// Publish sends to whoever listens now. It promises nothing.
	Publish(subject string, data []byte) error
	// Subscribe calls fn for each message on subject, until stop, which waits for a call that runs. A result that is not nil is sent
	// back to one who asked. fn must not block.
	Subscribe(subject string, fn func(data []byte) []byte) (stop func(), err error)
	// Request sends and waits for one answer. An error with a method NoResponders() bool that returns true says that nobody listens.
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
	// NotifyLink calls fn with the present state, then whenever this process loses the quorum's side or has it again: its connection, or, on a
	// node, its routes to the majority. Calls are in order and never overlap.
	NotifyLink(fn func(up bool, why string)) (stop func())
	// NotifyLost calls fn when a connection of the cluster ended, or, with client "", when a whole server is lost. Only where the
	// cluster tells such things to this process: on a node.
	NotifyLost(fn func(server, client, reason string)) (stop func())
}

// noResponders tells whether err says that nobody listens.
func noResponders(err error) bool {
	nr, ok := errors.AsType[interface {
		error
		NoResponders() bool
	}](err)
	return ok && nr.NoResponders()
}
