package wire

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// put publishes a message. It waits for a lost connection, up to linkPatience and never beyond ctx: while the library connects again it may hold the
// connection's lock for as long as a silent server does not greet it, so then somebody else waits for that.
func (c *Caller) put(ctx context.Context, msg *nats.Msg) error {
	var patience *time.Timer
	for {
		err := c.try(ctx, msg)
		if err == nil || !errors.Is(err, nats.ErrReconnectBufExceeded) && !errors.Is(err, nats.ErrDisconnected) && !errors.Is(err, nats.ErrConnectionReconnecting) {
			return err
		}
		if patience == nil {
			patience = time.NewTimer(linkPatience)
			defer patience.Stop()
		}
		select {
		case <-patience.C:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return ErrClosed
		case <-time.After(10 * time.Millisecond): // the library says nothing to a publisher when it is back
		}
	}
}

func (c *Caller) try(ctx context.Context, msg *nats.Msg) error {
	if !c.away.Load() {
		return c.nc.PublishMsg(msg)
	}
	sent := make(chan error, 1)
	go func() { sent <- c.nc.PublishMsg(msg) }() // ends when the library has the server's greeting, or gives it up
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}
