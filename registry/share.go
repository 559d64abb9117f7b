package registry

import (
	"context"
	"errors"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// A name may be shared on purpose. Each who serves it has a record replicas.<name>.<instance> beside the name's own, which stands for one of
// them. While one of that digest lives, the name is held: by the session of its record, or, when that is dead, by the living replica that joined
// first, which then takes the record over with the token as it is. Only when none lives is the name free, for a standby before all others.
//
// A replica joins by writing the name's record once more, as it is, in the same step. So who removes the record, guarded by its revision, has seen
// every replica that there is: none can join beside a removal that is under way.

// share registers the session as one of those who serve a shared name.
func (s *Session) share(ctx context.Context, p proposal) (*Registration, error) {
	ctx, cancel := s.r.merge(ctx)
	defer cancel()
	h, isNew, err := s.hold(replicaKey(p.name, p.opts.Instance))
	if err != nil {
		return nil, err
	}
	reg := &Registration{h: h, name: p.name, shared: true}
	if !isNew {
		return reg, h.wait(ctx)
	}
	if err := s.settled(ctx); err != nil {
		s.drop(h, err)
		return nil, err
	}
	s.r.watchName(p.name, h, func() { s.lookAfterShare(p, h) })
	since := s.r.clock.Wall().UTC()
	wants := []want{{h: h, value: func(over *entry) []byte {
		rec := replicaRecord{Writer: nuid.Next(), V: recordVersion}
		rec.Replica = Replica{
			Name: p.name, Node: s.r.node, Session: s.id, Instance: p.opts.Instance, Host: s.r.host, PID: s.lease.PID, Since: since, Digest: p.opts.Digest,
		}
		if over != nil {
			rec.Place = over.value.(*Replica).Place
		}
		return encode(rec)
	}}}
	wants = append(wants, s.sharedWants(p)...)
	wants[1].joins = true
	if err := s.take(ctx, wants, p.opts.Conflict); err != nil {
		return nil, err
	}
	s.lookAfterShare(p, h)
	return reg, h.wait(ctx)
}

// sharedWants is wants for a shared name: its record is nobody's holding.
func (s *Session) sharedWants(p proposal) []want {
	wants := s.wants(p, nil)
	wants[0].key, wants[0].digest = nameKey(p.name), p.opts.Digest
	return wants
}

// lookAfterShare takes the record of a shared name over when it is this replica's turn, and gives up where the name is somebody else's.
func (s *Session) lookAfterShare(p proposal, h *holding) {
	if !h.given.Load() {
		return
	}
	key := nameKey(p.name)
	judged, _ := s.r.view.claim(key)
	held, ok := recordOf(judged.held)
	switch {
	case ok && held.Digest != p.opts.Digest:
		s.drop(h, ErrLost)
	case ok && (held.Session != s.id || s.r.view.newest(key).session == s.id):
		return // another stands for it, or we do already
	}
	s.mu.Lock()
	busy := s.taking[key]
	s.taking[key] = true
	s.mu.Unlock()
	if busy {
		return
	}
	if !s.r.spawn(func() {
		err := s.claim(s.r.ctx, s.sharedWants(p)[:1], FirstWins)
		s.mu.Lock()
		delete(s.taking, key)
		s.mu.Unlock()
		if errors.Is(err, ErrNameTaken) {
			s.drop(h, ErrLost)
		} else if err != nil {
			s.r.log.Debug("taking a shared name over", "name", p.name, "error", err)
		} else {
			s.lookAfterShare(p, h)
		}
	}) {
		s.mu.Lock()
		delete(s.taking, key)
		s.mu.Unlock()
	}
}

// sharing tells whether the session serves a shared name: then its record may stand in the session's name.
func (s *Session) sharing(key string) bool {
	kind, name := splitKey(key)
	if kind != kindName {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.holds {
		kind, rest := splitKey(key)
		if of, _, ok := splitGroup(rest); kind == kindReplica && ok && of == name {
			return true
		}
	}
	return false
}

// sharedRecord is what the name's record says, with this instance in it.
func (g *Registration) sharedRecord() Record {
	g.h.mu.Lock()
	rep, ok := g.h.value.(*Replica)
	g.h.mu.Unlock()
	rec := Record{Name: g.name}
	if found, err := g.h.session.r.Whereis(g.name); err == nil {
		rec = *found
	}
	if ok {
		rec.standFor(rep)
		rec.Digest = rep.Digest
	}
	return rec
}

// shares tells whether this is one of those who share a record.
func (g *Registration) shares(rec *Record) bool {
	if !g.shared {
		return false
	}
	g.h.mu.Lock()
	defer g.h.mu.Unlock()
	by, ok := g.h.value.(*Replica)
	return ok && rec.Digest != "" && rec.Digest == by.Digest
}

// unshare takes this instance out of those that serve the name. Where the record stands for it, another takes its place in the same step; where
// there is none, the name is free.
func (g *Registration) unshare(ctx context.Context) error {
	s, r := g.h.session, g.h.session.r
	me := g.sharedRecord()
	hs := append([]*holding{g.h}, s.memberships(me.Instance)...)
	for _, h := range hs {
		s.drop(h, ErrUnregistered)
	}
	ctx, cancel := r.merge(ctx)
	defer cancel()
	var wait backoff
	for {
		var ops []kvstore.Op
		for _, h := range hs {
			if e := r.view.newest(h.key); e != nil && !e.ended && e.session == s.id {
				ops = append(ops, r.ending(e, ReasonUnregistered))
			}
		}
		e := r.view.newest(nameKey(g.name))
		if rec, ok := recordOf(e); ok && rec.Session == s.id && rec.Instance == me.Instance {
			ops = append(ops, r.ending(e, ReasonUnregistered))
		}
		if len(ops) == 0 {
			return nil
		}
		last, err := r.write(ctx, ops)
		if err == nil {
			return r.WaitFor(ctx, last)
		}
		if !r.settle(ctx, err, &wait) {
			return closedOr(err, r)
		}
	}
}

// ending is the write that ends a record. That of a shared name goes to another replica while one lives: the name stays.
func (r *Registry) ending(e *entry, reason Reason) kvstore.Op {
	if rec, ok := recordOf(e); ok && rec.Digest != "" {
		replicas, _ := r.Replicas(rec.Name) // there is none of what is no name
		for _, by := range replicas {
			if by.Digest == rec.Digest && by.Instance != rec.Instance {
				next := *rec
				next.standFor(&by)
				return kvstore.Op{Key: e.key, Value: encode(e.rewritten(&next)), Revision: e.revision}
			}
		}
	}
	return kvstore.Op{Key: e.key, Value: r.tombstone(reason), Revision: e.revision, Delete: true}
}

// standFor has the record of a shared name say that a replica serves it.
func (r *Record) standFor(by *Replica) {
	r.Node, r.Session, r.Instance, r.Host, r.PID, r.Since = by.Node, by.Session, by.Instance, by.Host, by.PID, by.Since
}

// Replicas lists who serves a shared name, the first to have joined first. Of a name that is not shared there is none.
func (r *Registry) Replicas(name string) ([]Replica, error) { return r.view.replicas(name) }

// Replicas lists who serves a shared name, the first to have joined first.
func (s *Snapshot) Replicas(name string) ([]Replica, error) { return s.v.replicas(name) }

func (v *view) replicas(name string) ([]Replica, error) {
	name, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return inOrder(v.shares[name], func(e *entry) Replica { return *e.value.(*Replica) }, func(r Replica) kvstore.Revision { return r.Place }), nil
}
