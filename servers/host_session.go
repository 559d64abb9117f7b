package servers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

func (h *Host) start(ctx context.Context, s *Serving) error {
	for {
		session, err := h.open(ctx, nil)
		if err != nil {
			return err
		}
		err = s.take(ctx, session)
		if !errors.Is(err, registry.ErrSessionEnded) || ctx.Err() != nil {
			return err
		}
	}
}

// open returns the Host's session, a new one if there is none or it is the one that ended.
func (h *Host) open(ctx context.Context, ended *registry.Session) (*registry.Session, error) {
	h.opening.Lock()
	defer h.opening.Unlock()
	h.mu.Lock()
	session, server, closed := h.session, h.server, h.closed
	h.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if session != nil && session != ended && session.Err() == nil {
		return session, nil
	}
	if server == nil {
		var err error
		server, err = wire.NewServer(h.conn, &wire.ServerOptions{Scope: h.reg.Scope(), MaxMessage: h.opts.MaxMessage, Logger: h.log})
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		h.server = server
		h.mu.Unlock()
	}
	next, err := h.reg.NewSession(ctx, &registry.SessionOptions{Mode: h.opts.Mode, Replaces: session})
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.session = next
	h.mu.Unlock()
	if !h.spawn(func() { h.follow(next) }) {
		h.leave(next)
		return nil, ErrClosed
	}
	return next, nil
}

// spawn runs f on a goroutine that Close waits for. It is false once the Host is closed.
func (h *Host) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Go(f)
	return true
}

// follow waits for the end of a session and brings what it held into the next, until each name is held again, lost to somebody else, or given up.
func (h *Host) follow(session *registry.Session) {
	select {
	case <-session.Done():
	case <-h.ctx.Done():
		return
	}
	h.mu.Lock()
	if h.closed || h.session != session {
		h.mu.Unlock()
		return
	}
	var held []*Serving
	for _, s := range h.names {
		held = append(held, s)
	}
	h.mu.Unlock()
	h.log.Warn("the session has ended; claiming again", "session", session.ID(), "err", session.Err(), "names", len(held))
	for _, s := range held {
		s.release(session)
	}
	pause := 50 * time.Millisecond
	for len(held) > 0 {
		next, err := h.open(h.ctx, session)
		switch {
		case err == nil:
			held, err = h.again(next, held)
		case errors.Is(err, registry.ErrClosed): // for good
			for _, s := range held {
				s.end(err, byName)
			}
			return
		}
		if len(held) == 0 || h.ctx.Err() != nil {
			return
		}
		h.log.Warn("claiming again failed", "err", err, "names", len(held), "next", pause)
		select {
		case <-time.After(pause):
		case <-h.ctx.Done():
			return
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// again claims names in a new session, a few at once, and returns those that are to be tried once more, and why.
func (h *Host) again(session *registry.Session, held []*Serving) (left []*Serving, why error) {
	var mu sync.Mutex
	var work sync.WaitGroup
	room := make(chan struct{}, 16)
	for _, s := range held {
		work.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			err := s.take(s.ctx, session)
			switch {
			case err == nil, errors.Is(err, ErrClosed), s.ctx.Err() != nil: // it is ending
			case errors.Is(err, registry.ErrNameTaken), errors.Is(err, registry.ErrClosed):
				h.log.Warn("a name is lost", "name", s.name, "err", err)
				s.end(err, byName)
			default:
				mu.Lock()
				left, why = append(left, s), err
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return left, why
}

// leave ends a session, and with it all that it holds. Where the store is away its lease ends by itself.
func (h *Host) leave(session *registry.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	if err := session.Close(ctx); err != nil && !errors.Is(err, registry.ErrSessionEnded) {
		h.log.Warn("the session's end is not in the registry yet; it ends with its lease", "session", session.ID(), "err", err)
	}
}

const leavePatience = 5 * time.Second
