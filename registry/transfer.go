package registry

import (
	"context"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Receiver takes names that other sessions give to its session.
type Receiver struct {
	// Accept is asked before a name comes: with which instance, and whether at all. It must not block. nil accepts with the session itself.
	Accept func(offered Record) (instance string, ok bool)
	// Received gets the registration, on a goroutine of its own. It belongs to the session from then on.
	Received func(*Registration)
}

const offerTimeout = 2 * time.Second

// Transfer gives the name to another session, as one entry of the log: at no moment does nobody hold it, and the token grows. The other session
// is asked first: ErrDeclined if it takes no names, ErrNotFound if there is no such session. From the call on the owner holds nothing, until it is
// settled. A shared name is not one session's to give away: ErrShared.
func (g *Registration) Transfer(ctx context.Context, session string) error {
	s, r := g.h.session, g.h.session.r
	if g.shared {
		return ErrShared
	}
	ctx, cancel := r.merge(ctx)
	defer cancel()
	lease, ok := r.Lease(session)
	if !ok {
		return ErrNotFound
	}
	if err := g.Err(); err != nil {
		return err
	}
	if session == s.id {
		return nil
	}
	instance, err := r.offer(ctx, session, g.Record())
	if err != nil {
		return err
	}
	g.h.given.Store(false)
	var wait backoff
	for {
		e := r.view.newest(g.h.key)
		if e == nil || e.ended || e.session != s.id {
			if e != nil && e.session == session && e.from == s.id {
				s.drop(g.h, ErrTransferred)
				return nil
			}
			s.drop(g.h, ErrLost)
			return ErrLost
		}
		held, _ := recordOf(e)
		rec := e.rewritten(held)
		rec.From, rec.Why = s.id, ReasonTransferred
		rec.Node, rec.Session, rec.Instance, rec.Host, rec.PID = lease.Node, session, instance, lease.Host, lease.PID
		rec.Since, rec.Token = r.clock.Wall().UTC(), 0
		revision, err := r.write(ctx, []kvstore.Op{{Key: g.h.key, Value: encode(rec), Revision: e.revision}})
		if err == nil {
			s.drop(g.h, ErrTransferred)
			return r.WaitFor(ctx, revision)
		}
		if !r.settle(ctx, err, &wait) {
			s.drop(g.h, err) // it may still come: who gave it away does not take it back
			return closedOr(err, r)
		}
	}
}

// offer asks a session whether it takes a name.
func (r *Registry) offer(ctx context.Context, session string, rec Record) (instance string, err error) {
	r.mu.Lock()
	own := r.sessions[session]
	r.mu.Unlock()
	data := encode(question{Transfer: &rec})
	if own != nil {
		data = own.asked(data)
	} else if r.peers == nil {
		return "", ErrNotFound
	} else {
		ask, cancel := context.WithTimeout(ctx, offerTimeout)
		defer cancel()
		if data, err = r.peers.Request(ask, r.subject(session), data); err != nil {
			return "", err
		}
	}
	a, ok := unmarshal[reply](data)
	if !ok || !a.Accepts || checkInstance(a.Instance) != nil || a.Instance == "" {
		return "", ErrDeclined
	}
	return a.Instance, nil
}

// accept answers an offer.
func (s *Session) accept(offered Record, a *reply) {
	if s.receiver == nil || s.receiver.Received == nil {
		return
	}
	a.Instance, a.Accepts = s.id, true
	if s.receiver.Accept != nil {
		a.Instance, a.Accepts = s.receiver.Accept(offered)
	}
	if a.Accepts && a.Instance == "" {
		a.Instance = s.id
	}
}

// received takes in a name that another session gave to this one. Without a receiver it is not wanted, and goes.
func (s *Session) received(e *entry) bool {
	rec, ok := e.value.(*Record)
	if !ok || e.from == "" || e.from == s.id || s.receiver == nil || s.receiver.Received == nil {
		return false
	}
	h, isNew, err := s.hold(e.key)
	if err != nil || !isNew {
		return false
	}
	h.got()
	s.r.spawn(func() { s.receiver.Received(&Registration{h: h, name: rec.Name}) })
	return true
}
