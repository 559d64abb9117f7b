package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// ErrClaimEnded: the member is not the claimant's any more. The error is a *ClaimEndedError.
var ErrClaimEnded = errors.New("registry: claim ended")

// ClaimEndedError says which claim ended and why: ReasonReleased, ReasonExpired, or how the member went.
type ClaimEndedError struct {
	Group, Instance string
	Reason          Reason
}

// Error says the member and the reason.
func (e *ClaimEndedError) Error() string {
	return fmt.Sprintf("registry: claim of %s in group %q ended: %s", e.Instance, e.Group, e.Reason)
}

// Is reports that a ClaimEndedError is ErrClaimEnded.
func (e *ClaimEndedError) Is(target error) bool { return target == ErrClaimEnded }

const (
	// DefaultClaim is how long a claim lasts where nothing else is said.
	DefaultClaim = 30 * time.Second

	// claimGrace is how much later than the claimant the log ends a claim. The claimant gives it up first, so that the expiry, which is unguarded, is
	// not on its way while the next claimant writes.
	claimGrace = 2 * time.Second
	// herdPause is the most that a claimant waits before it writes to a member that has become free. Claims arrive in a view within some milliseconds, so
	// most of those who wait elsewhere see that somebody was quicker, and do not write.
	herdPause = 10 * time.Millisecond
)

// ClaimOptions say what is claimed; nil is any member, for DefaultClaim, without waiting.
type ClaimOptions struct {
	// TTL is how long the claim may last, in whole seconds: it is rounded up. 0 is DefaultClaim.
	TTL time.Duration
	// Strategy chooses among the members that are free; nil is Random.
	Strategy Strategy
	// Wait waits until a member is free, as long as ctx lasts. Those who wait in one process are served in the order in which they came.
	Wait bool
}

// Claim is a member of a group that a session has for itself: no other claim gives it away, and Pick passes it over. Who calls the member without
// asking the registry is not kept from it. It ends by Release, when its time is over, with the claimant's session, or with the member. Its methods may
// be called concurrently.
type Claim struct {
	h      *holding
	member Member
	ttl    time.Duration
	began  moment      // before it was written
	down   <-chan Down // tells once why it is not in force any more
	done   chan struct{}

	mu     sync.Mutex
	reason Reason // why it ended, where the session knows no better
}

// Claim takes one member of a group for the session alone. It returns when this process's view shows the claim. The log decides: of two who want one member, one
// writes, and the other takes another or, if all are claimed, gets a *NoMembersError (ErrNoMembers), or waits.
//
// Other errors: ErrBadName, kvstore.ErrBadTTL, ErrSessionEnded, ErrUnavailable, ErrUnknown; with Wait, ErrNoMembers with the context's error when ctx ends. A claim
// that comes after its caller has left is removed by the session.
func (s *Session) Claim(ctx context.Context, group string, opts *ClaimOptions) (*Claim, error) {
	var o ClaimOptions
	if opts != nil {
		o = *opts
	}
	group, err := ParseName(group)
	if err != nil {
		return nil, err
	}
	switch {
	case o.TTL < 0:
		return nil, kvstore.ErrBadTTL
	case o.TTL == 0:
		o.TTL = DefaultClaim
	}
	o.TTL = (o.TTL + time.Second - 1).Truncate(time.Second)
	r := s.r
	ctx, cancel := r.merge(ctx)
	defer cancel()
	if err := r.WaitSynced(ctx); err != nil {
		return nil, err
	}
	if err := s.settled(ctx); err != nil {
		return nil, err
	}
	if o.Wait {
		leave, err := r.lines.enter(ctx, group)
		if err != nil {
			return nil, closedOr(err, r)
		}
		defer leave()
	}
	c, err := s.claimOne(ctx, group, o)
	return c, closedOr(err, r)
}

// claimOne tries members that are free until one is the session's.
func (s *Session) claimOne(ctx context.Context, group string, o ClaimOptions) (*Claim, error) {
	r := s.r
	var wait backoff
	for {
		if err := s.Err(); err != nil {
			return nil, err
		}
		free, all, turn := r.view.free(group)
		m, ok := choose(o.Strategy, Choice{Group: group, Members: free, Node: r.node, view: r.view})
		if ok {
			c, err := s.claimMember(ctx, m, o.TTL, &wait)
			if c != nil || err != nil {
				return c, err
			}
			continue
		}
		none := &NoMembersError{Group: group, Members: all, Claimed: all - len(free)}
		if !o.Wait {
			return nil, none
		}
		select {
		case <-turn:
		case <-s.done:
			return nil, s.Err()
		case <-ctx.Done():
			return nil, &waitError{none, context.Cause(ctx)}
		}
		if !pause(ctx, rand.N(herdPause)) {
			return nil, &waitError{none, context.Cause(ctx)}
		}
	}
}

// claimMember tries to claim one member; nil and no error when somebody else was quicker, or it is gone.
func (s *Session) claimMember(ctx context.Context, m Member, ttl time.Duration, wait *backoff) (*Claim, error) {
	r := s.r
	h, isNew, err := s.hold(claimKey(m.Group, m.Instance))
	if err != nil {
		return nil, err
	}
	if !isNew { // another call of this session is at it
		_ = h.wait(ctx) // whatever comes of it
		if !wait.wait(ctx) {
			return nil, context.Cause(ctx)
		}
		return nil, nil
	}
	c := &Claim{h: h, member: m, ttl: ttl, done: make(chan struct{})}
	began := map[string]moment{} // our writes: one whose answer was lost may be the one that counts
	for {
		judged, _ := r.view.claim(h.key)
		if judged.held != nil {
			return s.claimed(c, judged.held, began)
		}
		rec := claimRecord{Writer: nuid.Next(), V: recordVersion, Claimed: Claimed{
			Group: m.Group, Instance: m.Instance, Owner: m.Session, Node: r.node, Session: s.id, Since: r.clock.Wall().UTC(), TTL: ttl,
		}}
		began[rec.Writer] = read(r.clock)
		last, err := r.write(ctx, []kvstore.Op{{Key: h.key, Value: encode(rec), Revision: judged.expect, TTL: ttl + claimGrace}})
		if err == nil {
			if err := r.WaitFor(ctx, last); err != nil {
				s.drop(h, err)
				return nil, err
			}
			return s.claimed(c, r.view.newest(h.key), began)
		}
		again := r.settle(ctx, err, wait)
		if !again || !errors.Is(err, kvstore.ErrUnknown) { // another member is tried, unless this write may still come: it is settled on the spot
			s.drop(h, err)
			if again {
				err = nil
			}
			return nil, err
		}
	}
}

// claimed begins a claim with the record that the view shows, if that is one of ours and in force: somebody may have been quicker, or the member gone.
func (s *Session) claimed(c *Claim, e *entry, began map[string]moment) (*Claim, error) {
	r := s.r
	ctx, cancel := context.WithCancel(r.ctx)
	var err error
	c.down, err = r.view.monitor(ctx, c.h.key, c.h.key)
	if now := r.view.newest(c.h.key); err != nil || e == nil || now != e || began[e.writer].zero() {
		cancel()
		s.drop(c.h, ErrLost)
		return nil, nil
	}
	c.began = began[e.writer]
	c.h.got()
	if !r.spawn(func() { defer cancel(); c.run(ctx) }) {
		cancel()
		s.drop(c.h, ErrClosed)
		return nil, ErrClosed
	}
	return c, nil
}

// run waits for the end of a claim, and ends it when its time is over.
func (c *Claim) run(ctx context.Context) {
	defer close(c.done)
	s := c.h.session
	over := time.NewTimer(c.ttl - elapsed(s.r.clock, c.began))
	defer over.Stop()
	select {
	case d := <-c.down:
		c.because(d.Reason)
		s.drop(c.h, ErrLost) // what is left of it is removed
	case <-over.C:
		c.because(ReasonExpired)
		ctx, cancel := context.WithTimeout(ctx, claimGrace)
		defer cancel()
		if err := s.release(ctx, []*holding{c.h}, ReasonExpired, ErrLost); err != nil {
			s.r.log.Debug("ending a claim", "member", c.member.Instance, "group", c.member.Group, "error", err)
		}
	case <-c.h.done:
	case <-ctx.Done():
		s.drop(c.h, ErrClosed)
	}
}

// because notes why the claim ended. The first reason stays.
func (c *Claim) because(reason Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == "" {
		c.reason = reason
	}
}

// Member is who was claimed, as it was then.
func (c *Claim) Member() Member { return c.member }

// Valid tells whether the member is the claimant's now: the claim stands, its session is valid, and its time is not over by the claimant's own clock, which began
// before the log's. It is cheap: ask it before each use.
func (c *Claim) Valid() bool {
	s := c.h.session
	return c.h.given.Load() && s.Valid() && elapsed(s.r.clock, c.began) < c.ttl
}

// Done is closed when the claim has ended.
func (c *Claim) Done() <-chan struct{} { return c.done }

// Err is nil while the claim lasts, then a *ClaimEndedError (ErrClaimEnded) or a *SessionEndedError (ErrSessionEnded).
func (c *Claim) Err() error {
	err := c.h.error()
	if err == nil || errors.Is(err, ErrSessionEnded) || errors.Is(err, ErrClosed) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == "" {
		c.reason = ReasonRemoved
		select {
		case d := <-c.down: // it is there before the session loses what it holds
			c.reason = d.Reason
		default:
		}
	}
	return &ClaimEndedError{Group: c.member.Group, Instance: c.member.Instance, Reason: c.reason}
}

// Release gives the member free. From the call on it is not the claimant's, whatever becomes of the write. Releasing again does nothing.
func (c *Claim) Release(ctx context.Context) error {
	if c.h.error() != nil {
		return nil
	}
	c.because(ReasonReleased)
	err := c.h.session.release(ctx, []*holding{c.h}, ReasonReleased, ErrUnregistered)
	<-c.done
	return err
}
