package servers

import (
	"context"
	"encoding/json"

	"github.com/toolbus/toolbus/servers/era"
	"github.com/toolbus/toolbus/servers/wire"
)

// bothEras returns the backend as the bus sees it: one that answers clients of both eras. Where the server speaks both itself it is the backend; else
// what it does not speak is translated here, at the instance, so that no client has to know.
func (s *Serving) bothEras() (wire.Backend, error) {
	switch {
	case s.info.Era == Legacy:
		adapter, err := era.Adapt(s.backend, s.info.Result, &era.Options{Instance: s.instance, Forward: s.forward, Logger: s.host.log})
		if err != nil {
			return nil, err
		}
		s.adapter = adapter
		return adapter, nil
	case s.info.Era != Modern || era.Both(s.info.Result):
		return s.backend, nil
	}
	single, ok := s.backend.(wire.Stateless)
	if !ok {
		return &sessioned{s.backend, era.NewSessions(s.byBus, &era.SessionOptions{Logger: s.host.log})}, nil
	}
	return &sessionedSingle{sessioned{s.backend, era.NewSessions(era.Singles(single), &era.SessionOptions{Logger: s.host.log})}, single}, nil
}

// sessioned is a modern server with sessions for legacy clients.
type sessioned struct {
	wire.Backend
	sessions *era.Sessions
}

func (b *sessioned) Open(ctx context.Context) (wire.Pipe, error) { return b.sessions.Open(ctx) }

// sessionedSingle is one that has a conversation for each request.
type sessionedSingle struct {
	sessioned
	single wire.Stateless
}

func (b *sessionedSingle) Single(ctx context.Context) (wire.Pipe, error) { return b.single.Single(ctx) }

// forward takes the retry of a call to the instance that has it suspended: of the same name, or of another one where a group was called.
func (s *Serving) forward(ctx context.Context, instance string, msg json.RawMessage) (era.Stream, error) {
	to := wire.Target{Name: s.name, Instance: instance}
	if record, err := s.host.reg.Instance(instance); err == nil {
		to.Name = record.Name
	}
	return s.host.request(ctx, to, msg)
}

// byBus makes a request to this instance itself by the way that others take: the conversation that its backend shares is in the wire's hands.
func (s *Serving) byBus(ctx context.Context, msg json.RawMessage) (era.Stream, error) {
	return s.host.request(ctx, wire.Target{Name: s.name, Instance: s.instance}, msg)
}

// request makes one request on the bus.
func (h *Host) request(ctx context.Context, to wire.Target, msg json.RawMessage) (era.Stream, error) {
	caller, err := h.callerOfEras()
	if err != nil {
		return nil, err
	}
	pipe, err := caller.Dial(to)
	if err != nil {
		return nil, err
	}
	if err := pipe.Write(ctx, msg); err != nil {
		_ = pipe.Close() // it has failed already
		return nil, err
	}
	return pipe, nil
}

func (h *Host) callerOfEras() (*wire.Caller, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if h.caller == nil {
		opts := CallerOptions(h.reg)
		opts.MaxMessage, opts.Logger = h.opts.MaxMessage, h.log
		caller, err := wire.NewCaller(h.conn, opts)
		if err != nil {
			return nil, err
		}
		h.caller = caller
	}
	return h.caller, nil
}
