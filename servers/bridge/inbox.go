package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
)

// inbox is the reading end of a pipe.
type inbox struct {
	ctx    context.Context // ends with the pipe
	cancel context.CancelCauseFunc
	in     chan json.RawMessage
}

func newInbox(ctx context.Context) inbox {
	b := inbox{in: make(chan json.RawMessage, childBuffer)}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	return b
}

// put hands a message over, and waits while the reader is slow.
func (b *inbox) put(msg json.RawMessage) {
	select {
	case b.in <- msg:
	case <-b.ctx.Done():
	}
}

// Read waits for the next message. After the end it returns what was said before, then why.
func (b *inbox) Read(ctx context.Context) (json.RawMessage, error) {
	select {
	case msg := <-b.in:
		return msg, nil
	default:
	}
	select {
	case msg := <-b.in:
		return msg, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.ctx.Done():
	}
	select {
	case msg := <-b.in:
		return msg, nil
	default:
		return nil, b.end()
	}
}

// Err is why it has ended, nil before.
func (b *inbox) Err() error {
	if b.ctx.Err() == nil {
		return nil
	}
	return b.end()
}

func (b *inbox) end() error {
	if err := context.Cause(b.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return io.ErrClosedPipe
}
