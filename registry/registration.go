package registry

import (
	"context"
	"maps"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// RegisterOptions are what an owner says about a name; nil says nothing.
type RegisterOptions struct {
	// Instance is the id of the hosted server; "" is the session itself, which hosts none.
	Instance string
	Kind     string            // what kind of server it is
	Address  string            // where it can be reached other than by its name
	Groups   []string          // groups that the instance joins in the same step
	Metadata map[string]string // shown with the name
	Labels   map[string]string // short facts to select by

	// Digest shares the name: others who say the same digest of their specification serve it too, each as an instance of its own. One
	// with another digest, or with none, is told that the name is taken. It stays visible while one of them lives.
	Digest string

	Conflict Conflict // what to do where another session holds the name
	Reason   string   // what the owner is told whom Replace takes the name from
}

// Registration is a name that a session holds. Its methods may be called concurrently.
type Registration struct {
	h      *holding // of a shared name that of its replica
	name   string
	shared bool
}

// Register claims name for the session: exactly one session of the scope can hold it. It returns when this process's view shows the claim, so
// that what is read after it is true. If another session holds the name, or stands by for it, the error is a *NameTakenError (ErrNameTaken) that says who
// and since when; a holder that does not answer a probe is reported to the keeper first, and Register waits until ctx ends, or for about a TTL,
// for him to come back or to be ended. Registering again what the session holds is ok and changes nothing. RegisterOptions.Conflict chooses
// otherwise.
//
// Other errors: ErrBadName, ErrSessionEnded, ErrUnavailable, ErrUnknown when ctx ended before the outcome was known: if the claim comes after
// all, the session gives the name up again.
func (s *Session) Register(ctx context.Context, name string, opts *RegisterOptions) (*Registration, error) {
	p, err := s.propose(name, opts)
	if err != nil {
		return nil, err
	}
	if p.opts.Digest != "" {
		return s.share(ctx, p)
	}
	if p.opts.Conflict == Queue {
		return s.campaign(ctx, p)
	}
	ctx, cancel := s.r.merge(ctx)
	defer cancel()
	h, isNew, err := s.hold(nameKey(p.name))
	if err != nil {
		return nil, err
	}
	if !isNew {
		return s.again(ctx, h, p.name, p.opts.Instance)
	}
	if err := s.settled(ctx); err != nil {
		s.drop(h, err)
		return nil, err
	}
	if err := s.take(ctx, s.wants(p, h), p.opts.Conflict); err != nil {
		return nil, err
	}
	return &Registration{h: h, name: p.name}, h.wait(ctx)
}

// proposal is a claim that was checked and is still to be made.
type proposal struct {
	name string
	opts RegisterOptions // its instance and groups as they will be written
}

// propose checks what a caller wants to claim. Nothing is written.
func (s *Session) propose(name string, opts *RegisterOptions) (p proposal, err error) {
	if opts != nil {
		p.opts = *opts
	}
	if p.name, err = ParseName(name); err != nil {
		return p, err
	}
	if p.opts.Instance == "" {
		p.opts.Instance = s.id
	}
	if err := checkInstance(p.opts.Instance); err != nil {
		return p, err
	}
	groups := make([]string, len(p.opts.Groups))
	for i, g := range p.opts.Groups {
		if groups[i], err = ParseName(g); err != nil {
			return p, err
		}
	}
	p.opts.Groups = groups
	return p, nil
}

// wants says what a claim writes: the name, and the memberships that the session does not have yet.
func (s *Session) wants(p proposal, h *holding) []want {
	o, since := p.opts, s.r.clock.Wall().UTC()
	out := []want{{h: h, value: func(over *entry) []byte {
		rec := nameRecord{Writer: nuid.Next(), V: recordVersion}
		rec.Record = Record{
			Name: p.name, Node: s.r.node, Session: s.id, Instance: o.Instance, Kind: o.Kind, Address: o.Address, Host: s.r.host,
			PID: s.lease.PID, Since: since, Metadata: o.Metadata, Labels: o.Labels, Digest: o.Digest,
		}
		if before, ok := recordOf(over); ok && before.Session == s.id && before.Digest == o.Digest { // an earlier claim of which we know no more
			rec.Token = before.Token
		} else if over != nil {
			rec.Why = replacedBy(o.Reason)
		}
		return encode(rec)
	}}}
	for _, g := range o.Groups {
		if m, isNew, err := s.hold(groupKey(g, o.Instance)); err == nil && isNew {
			out = append(out, want{h: m, value: s.memberValue(g, o.Instance, p.name, since, nil)})
		}
	}
	return out
}

// take makes a claim: then all of it is held, or none of it.
func (s *Session) take(ctx context.Context, wants []want, conflict Conflict) error {
	if err := s.claim(ctx, wants, conflict); err != nil {
		s.dropAll(wants, err)
		return closedOr(err, s.r)
	}
	for _, w := range wants {
		if w.h != nil {
			w.h.got()
		}
	}
	return nil
}

// again answers a claim of what the session claims or holds already.
func (s *Session) again(ctx context.Context, h *holding, name, instance string) (*Registration, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	reg := &Registration{h: h, name: name}
	if rec := reg.Record(); rec.Instance != instance {
		return nil, &NameTakenError{Name: name, Owner: rec}
	}
	return reg, nil
}

// wait waits until the claim of a holding has been decided.
func (h *holding) wait(ctx context.Context) error {
	select {
	case <-h.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// settled waits, for a strict session, until this process has followed its log for a TTL: a log that was made anew may lack a lease whose
// owner still believes in it.
func (s *Session) settled(ctx context.Context) error {
	if s.mode != Strict {
		return nil
	}
	s.r.mu.Lock()
	seen, ttl := s.r.logSeen, s.r.timing.ttl
	s.r.mu.Unlock()
	if left := ttl - (s.r.clock.Boot() - seen.boot); left > 0 && !pause(ctx, left) {
		return ctx.Err()
	}
	return nil
}

// checkInstance refuses what could not be the last token of a key.
func checkInstance(id string) error {
	if len(id) > MaxLabel {
		return &NameError{Name: id, Why: "an instance's id is longer than 63 bytes"}
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return &NameError{Name: id, Why: "an instance's id has letters, digits, - and _ only"}
		}
	}
	return nil
}

// Name is the name that is held.
func (g *Registration) Name() string { return g.name }

// Session is the session that holds it.
func (g *Registration) Session() *Session { return g.h.session }

// Record is the registration as it was last applied.
func (g *Registration) Record() Record {
	if g.shared {
		return g.sharedRecord()
	}
	g.h.mu.Lock()
	defer g.h.mu.Unlock()
	if rec, ok := g.h.value.(*Record); ok {
		return *rec
	}
	return Record{Name: g.name}
}

// Instance is the id of the hosted server.
func (g *Registration) Instance() string { return g.Record().Instance }

// Token is the fencing token: the revision of the claim.
func (g *Registration) Token() kvstore.Revision { return g.Record().Token }

// Serving tells whether the owner may answer in the name of it now: it is held, and the session is valid. Ask when a request is taken up.
func (g *Registration) Serving() bool { return g.h.given.Load() && g.h.session.Valid() }

// Done is closed when the name is held no more.
func (g *Registration) Done() <-chan struct{} { return g.h.done }

// Err is nil while the name is held, then ErrUnregistered, ErrTransferred, ErrLost or ErrSessionEnded.
func (g *Registration) Err() error { return g.h.error() }

// Unregister gives the name up, and every membership of its instance, in one step. From the call on the owner holds nothing of it, whatever
// comes of the write. Unregistering what is not held does nothing.
func (g *Registration) Unregister(ctx context.Context) error {
	if g.Err() != nil {
		return nil
	}
	s := g.h.session
	if g.shared {
		return g.unshare(ctx)
	}
	hs := append([]*holding{g.h}, s.memberships(g.Instance())...)
	return s.release(ctx, hs, ReasonUnregistered, ErrUnregistered)
}

// Update changes what the owner says about the name, as one write: the name is never absent. change gets a copy and may alter Kind, Address,
// Metadata and Labels; it may be called more than once. The token stays. What all who share a name say of it any of them may change.
func (g *Registration) Update(ctx context.Context, change func(*Record)) error {
	s := g.h.session
	ctx, cancel := s.r.merge(ctx)
	defer cancel()
	var wait backoff
	tried := map[string]bool{} // our own writes: one whose answer was lost must not be done again on top of itself
	for {
		if err := g.Err(); err != nil {
			return err
		}
		e := s.r.view.newest(nameKey(g.name))
		held, ok := recordOf(e)
		if !ok || e.session != s.id && !g.shares(held) {
			return ErrLost
		}
		if tried[e.writer] {
			return nil
		}
		old := *held
		now := old
		now.Metadata, now.Labels = maps.Clone(old.Metadata), maps.Clone(old.Labels)
		change(&now)
		old.Kind, old.Address, old.Metadata, old.Labels = now.Kind, now.Address, now.Metadata, now.Labels
		again := e.rewritten(&old)
		tried[again.Writer] = true
		revision, err := s.r.write(ctx, []kvstore.Op{{Key: e.key, Value: encode(again), Revision: e.revision}})
		if err == nil {
			return s.r.WaitFor(ctx, revision)
		}
		if !s.r.settle(ctx, err, &wait) {
			return closedOr(err, s.r)
		}
	}
}

// Join adds the instance of this registration to a group.
func (g *Registration) Join(ctx context.Context, group string, opts *JoinOptions) (*Membership, error) {
	var o JoinOptions
	if opts != nil {
		o = *opts
	}
	o.Instance = g.Instance()
	return g.h.session.Join(ctx, group, &o)
}

// Leave takes the instance of this registration out of a group. Leaving a group that it is not in does nothing.
func (g *Registration) Leave(ctx context.Context, group string) error {
	return g.h.session.leave(ctx, group, g.Instance())
}
