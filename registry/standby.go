package registry

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// Standby is a session's place in the queue for a name. The queue is in the log: when the owner goes, the first living standby has the name in
// the next step, in the order in which they queued, and no third can slip in between. Its methods may be called concurrently.
type Standby struct {
	h       *holding
	p       proposal
	session *Session
	elected chan struct{} // closed when the name is held

	mu      sync.Mutex
	running bool
	claimed chan struct{} // closed when the claim that runs has been decided
	reg     *Registration
}

// StandBy puts the session into the queue for name and returns when the view shows its place. If nobody holds the name and nobody is before
// it, it is elected at once. opts are those of the registration to come, which is its alone: its Conflict and Digest are ignored. Standing by again returns the place that the
// session has. Errors as for Register, but for ErrNameTaken: where another session has a place under that very instance.
func (s *Session) StandBy(ctx context.Context, name string, opts *RegisterOptions) (*Standby, error) {
	p, err := s.propose(name, opts)
	if err != nil {
		return nil, err
	}
	return s.standBy(ctx, p)
}

func (s *Session) standBy(ctx context.Context, p proposal) (*Standby, error) {
	r := s.r
	p.opts.Digest = ""
	ctx, cancel := r.merge(ctx)
	defer cancel()
	b := &Standby{p: p, session: s, elected: make(chan struct{})}
	h, isNew, err := s.holdFor(standbyKey(p.name, p.opts.Instance), b)
	if err != nil {
		return nil, err
	}
	if !isNew {
		if err := h.wait(ctx); err != nil {
			return nil, err
		}
		return h.standby, nil
	}
	r.watchName(p.name, h, b.look)
	since := r.clock.Wall().UTC()
	value := func(over *entry) []byte {
		rec := waitRecord{Writer: nuid.Next(), V: recordVersion}
		rec.Waiting = Waiting{Name: p.name, Node: r.node, Session: s.id, Instance: p.opts.Instance, Since: since}
		if over != nil {
			rec.Place = over.value.(*Waiting).Place
		}
		return encode(rec)
	}
	if err := s.take(ctx, []want{{h: h, value: value}}, FirstWins); err != nil {
		return nil, err
	}
	b.look()
	return b, h.wait(ctx)
}

// Campaign stands by for name until the session holds it, or ctx ends: then it leaves the queue. It is leader election, and the way to run one of
// something in the whole cluster: who returns from it without an error is the one, for as long as Registration.Serving says so.
func (s *Session) Campaign(ctx context.Context, name string, opts *RegisterOptions) (*Registration, error) {
	p, err := s.propose(name, opts)
	if err != nil {
		return nil, err
	}
	return s.campaign(ctx, p)
}

func (s *Session) campaign(ctx context.Context, p proposal) (*Registration, error) {
	b, err := s.standBy(ctx, p)
	if errors.Is(err, ErrElected) {
		return s.Register(ctx, p.name, &p.opts)
	}
	if err != nil {
		return nil, err
	}
	reg, err := b.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		leave, cancel := context.WithTimeout(s.r.ctx, attemptTime)
		defer cancel()
		if e := b.Withdraw(leave); e != nil {
			s.r.log.Debug("leaving a queue", "name", p.name, "error", e)
		}
		if reg, won := b.Elected(); won { // in the last moment: nobody would know that it is held
			if e := reg.Unregister(leave); e != nil {
				s.r.log.Debug("giving up a name that nobody waits for", "name", p.name, "error", e)
			}
		}
	}
	return reg, err
}

// Wait waits until the standby is elected and returns the registration. The context's error when it ends first: the place is kept; the
// standby's when it has ended.
func (b *Standby) Wait(ctx context.Context) (*Registration, error) {
	select {
	case <-b.elected:
	case <-b.h.done:
		select {
		case <-b.elected:
		default:
			return nil, b.Err()
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	reg, _ := b.Elected()
	return reg, nil
}

// Elected returns the registration once the standby's turn has come.
func (b *Standby) Elected() (reg *Registration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reg, b.reg != nil
}

// Name is the name that it waits for.
func (b *Standby) Name() string { return b.p.name }

// Done is closed when it waits no more: it was elected, withdrew, or its session ended.
func (b *Standby) Done() <-chan struct{} { return b.h.done }

// Err is nil while it waits, then ErrElected, ErrUnregistered, ErrLost or ErrSessionEnded.
func (b *Standby) Err() error { return b.h.error() }

// Position is how many living standbys are before it, as the view shows it; ok is false when it has no place any more.
func (b *Standby) Position() (ahead int, ok bool) {
	queue, _ := b.session.r.Standbys(b.p.name)
	ahead = slices.IndexFunc(queue, func(w Waiting) bool { return w.Instance == b.p.opts.Instance && w.Session == b.session.id })
	return max(ahead, 0), ahead >= 0
}

// Withdraw leaves the queue. After an election it does nothing: the registration is to be given up then. An election that is under way is
// waited for, so that after Withdraw has returned without an error, Elected says for good whether the session holds the name.
func (b *Standby) Withdraw(ctx context.Context) error {
	if b.Err() == nil {
		if err := b.session.release(ctx, []*holding{b.h}, ReasonLeft, ErrUnregistered); err != nil {
			return err
		}
	}
	b.mu.Lock()
	claimed := b.claimed
	b.mu.Unlock()
	if claimed == nil {
		return nil
	}
	select {
	case <-claimed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Standbys lists who stands by for a name, in the order of the queue.
func (r *Registry) Standbys(name string) ([]Waiting, error) { return r.view.standbys(name) }

// Standbys lists who stands by for a name, in the order of the queue.
func (s *Snapshot) Standbys(name string) ([]Waiting, error) { return s.v.standbys(name) }

func (v *view) standbys(name string) ([]Waiting, error) {
	name, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return inOrder(v.queues[name], func(e *entry) Waiting { return *e.value.(*Waiting) }, func(w Waiting) kvstore.Revision { return w.Place }), nil
}

// inOrder copies what an index has, in the order of places.
func inOrder[T any](m map[string]*entry, value func(*entry) T, place func(T) kvstore.Revision) []T {
	entries := slices.SortedFunc(maps.Values(m), func(a, b *entry) int {
		return cmp.Or(cmp.Compare(place(value(a)), place(value(b))), cmp.Compare(a.key, b.key))
	})
	out := make([]T, len(entries))
	for i, e := range entries {
		out[i] = value(e)
	}
	return out
}

// look starts the claim if the name is free and it is this standby's turn.
func (b *Standby) look() {
	if !b.turn() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running || b.reg != nil {
		return
	}
	claimed := make(chan struct{})
	if b.running = b.session.r.spawn(func() { b.succeed(claimed) }); b.running {
		b.claimed = claimed
	}
}

// turn tells whether the name is free and this standby the first in the queue.
func (b *Standby) turn() bool {
	judged, _ := b.session.r.view.claim(nameKey(b.p.name))
	return judged.held == nil && judged.heir != nil && judged.heir.key == b.h.key && judged.heir.session == b.session.id && b.h.given.Load()
}

// succeed claims the name and leaves the queue, in one step. If somebody else has it by then (nobody but one who takes it by force), it goes on waiting.
func (b *Standby) succeed(claimed chan<- struct{}) {
	s := b.session
	err := b.claim(s.r.ctx)
	b.mu.Lock()
	b.running = false
	b.mu.Unlock()
	close(claimed)
	if err == nil {
		s.r.log.Info("elected", "name", b.p.name, "session", s.id)
		return
	}
	s.r.log.Debug("standing by still", "name", b.p.name, "error", err)
	if s.Err() == nil && pause(s.r.ctx, reportPause) {
		b.look() // what changed meanwhile found the claim running
	}
}

func (b *Standby) claim(ctx context.Context) error {
	s := b.session
	if err := s.settled(ctx); err != nil {
		return err
	}
	h, isNew, err := s.hold(nameKey(b.p.name))
	if err != nil {
		return err
	}
	if !isNew {
		return ErrNameTaken // the session holds it already, or claims it just now
	}
	wants := append(s.wants(b.p, h), want{h: b.h, remove: true})
	if err := s.claim(ctx, wants, FirstWins); err != nil {
		s.dropAll(wants[:len(wants)-1], err)
		return err
	}
	for _, w := range wants {
		if !w.remove {
			w.h.got()
		}
	}
	b.mu.Lock()
	b.reg = &Registration{h: h, name: b.p.name}
	b.mu.Unlock()
	close(b.elected)
	s.drop(b.h, ErrElected)
	return nil
}
