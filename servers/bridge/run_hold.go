package bridge

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// Bounds of a hold's ways.
const (
	drainPatience = time.Second           // for the calls in flight when Running is closed
	leavePatience = 5 * time.Second       // for the registry to take the end of a session
	closePatience = 30 * time.Second      // for children, whose graces are shorter
	retryFirst    = 50 * time.Millisecond // between attempts to register again, doubled each time
	retryMost     = 2 * time.Second
)

// hold is one session's claim of the name, and the serving under it.
type hold struct {
	session      *registry.Session
	registration *registry.Registration
	serving      *wire.Serving
}

// take claims the name in a new session and serves it. old is the session before, which has ended.
func (r *Running) take(ctx context.Context, old *registry.Session) (*hold, error) {
	session, err := r.reg.NewSession(ctx, &registry.SessionOptions{Replaces: old})
	if err != nil {
		return nil, err
	}
	h := &hold{session: session}
	record := r.record
	record.Instance = nuid.Next()
	if h.registration, err = session.Register(ctx, r.name, &record); err == nil {
		h.serving, err = wire.Serve(ctx, r.conn, wire.ServeOptions{
			Scope: r.reg.Scope(), Name: r.name, Instance: record.Instance, Groups: record.Groups,
			Lease: session.ID(), Token: strconv.FormatUint(uint64(h.registration.Token()), 10), Valid: h.registration.Serving,
			Logger: r.log,
		}, r.backend)
	}
	if err != nil {
		r.release(session)
		return nil, err
	}
	r.log.Info("registered", "session", session.ID(), "instance", record.Instance, "groups", record.Groups, "token", h.registration.Token())
	return h, nil
}

// release ends a session, and with it all that it holds.
func (r *Running) release(session *registry.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	if err := session.Close(ctx); err != nil && !errors.Is(err, registry.ErrSessionEnded) {
		r.log.Warn("the session's end is not in the registry yet; it ends with its lease", "session", session.ID(), "err", err)
	}
}

// keep follows the child, the session and the name, and leaves when one of them is lost for good.
func (r *Running) keep() {
	defer close(r.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() { // whoever waits for the registry below gives up for either
		select {
		case <-r.asked:
		case <-r.backend.Done():
		case <-ctx.Done():
		}
		cancel()
	})
	defer watch.Wait()
	defer cancel()
	for {
		h := r.hold
		select {
		case <-ctx.Done():
			r.leave(h, nil)
			return
		case <-h.registration.Done():
		case <-h.session.Done():
		}
		if h.session.Err() == nil {
			r.leave(h, h.registration.Err())
			return
		}
		r.log.Warn("the registry's session was lost, registering again", "err", h.session.Err())
		h.serving.Close()
		next, err := r.takeAgain(ctx, h.session)
		if err != nil {
			r.leave(nil, err)
			return
		}
		r.mu.Lock()
		r.hold = next
		r.mu.Unlock()
	}
}

// takeAgain tries until it has the name, somebody else has it, or nobody wants it any more.
func (r *Running) takeAgain(ctx context.Context, old *registry.Session) (*hold, error) {
	pause := retryFirst
	for {
		h, err := r.take(ctx, old)
		switch {
		case err == nil:
			return h, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, registry.ErrNameTaken), errors.Is(err, registry.ErrClosed), errors.Is(err, wire.ErrClosed):
			return nil, err
		}
		r.log.Warn("registering again failed", "err", err, "next", pause)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
		pause = min(2*pause, retryMost)
	}
}

// leave gives the name up first, for whoever waits for it, and then ends what served it. h may be nil: nothing is held.
func (r *Running) leave(h *hold, why error) {
	died := r.backend.Err()
	if h != nil {
		var both sync.WaitGroup
		both.Go(func() { r.release(h.session) })
		both.Go(func() {
			// The calls of a dead child have their answer by now, which says so; those of other sessions may still get theirs.
			ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
			defer cancel()
			_ = h.serving.Drain(ctx)
		})
		both.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if err := r.backend.Close(ctx); err != nil {
		r.log.Error("a child is still there", "err", err)
	}
	switch {
	case died != nil:
		r.err = died
	case errors.Is(why, context.Canceled):
	default:
		r.err = why
	}
	r.log.Info("left", "err", r.err)
}
