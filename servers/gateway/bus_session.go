package gateway

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/toolbus/toolbus/servers/wire"
)

// busSession is a session on the bus.
type busSession struct{ *wire.Remote }

func (s busSession) request(ctx context.Context, msg json.RawMessage) (stream, error) {
	one, err := s.Request(ctx, msg)
	if err != nil {
		return nil, gone(err)
	}
	return busStream{one}, nil
}

func (s busSession) send(ctx context.Context, msg json.RawMessage) error {
	return gone(s.Send(ctx, msg))
}

func (s busSession) listen(ctx context.Context) (stream, error) { return s.attach(s.Listen(ctx, "")) }

func (s busSession) resume(ctx context.Context, event string) (stream, error) {
	return s.attach(s.Resume(ctx, event))
}

func (s busSession) attach(one *wire.Stream, err error) (stream, error) {
	if err != nil {
		return nil, gone(err)
	}
	return busStream{one}, nil
}

func (s busSession) close(ctx context.Context) error { return gone(s.Close(ctx)) }

// gone takes an instance that is not there any more for the end of its sessions.
func gone(err error) error {
	for _, end := range []error{wire.ErrNoResponders, wire.ErrNoName, wire.ErrEnded} {
		if errors.Is(err, end) {
			return wire.ErrNoSession
		}
	}
	return err
}

// busStream is a stream on the bus.
type busStream struct{ *wire.Stream }

func (s busStream) read(ctx context.Context) (event, error) {
	e, err := s.Read(ctx)
	if errors.Is(err, wire.ErrReplaced) {
		// The client has opened another stream, and this one is told nothing any more. To end it would let the client open it again, and take over in turn.
		<-ctx.Done()
		return event{}, ctx.Err()
	}
	if err != nil {
		return event{}, err
	}
	return event{id: e.ID, msg: e.Data, last: e.Last}, nil
}

func (s busStream) position() string { return s.Position() }

func (s busStream) start() string { return s.Start() }

func (s busStream) close() { _ = s.Close() }
