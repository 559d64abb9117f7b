package registry

import (
	"context"
	"strings"
	"time"
)

// The keys of counters. Those of a session end in its id, so that those of one key, and those of one session, are found by a pattern.
const (
	sessionCounters = "session" // <key>.<session>
	sharedCounters  = "shared"  // <key>
)

// Counter is a whole number to which many may add at once: of a session, then it is gone with it, or shared, then it belongs to nobody and stays. Its
// methods may be called concurrently. Errors of the store are as they are: kvstore.ErrRange, ErrUnavailable, ErrUnknown (it may have been counted, or
// may be later).
type Counter struct {
	r       *Registry
	session *Session // nil: shared
	name    string
	key     string
}

// Counter is the session's counter of that key; it begins at 0. Nothing is written. Errors: ErrBadName, ErrNoCounters.
func (s *Session) Counter(key string) (*Counter, error) {
	name, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	return s.r.counter(&Counter{r: s.r, session: s, name: name, key: sessionCounters + "." + name + "." + s.id})
}

// SharedCounter is the counter of that key which has no owner: every process of the scope may add to it, and it stays until it is removed. Sum does not
// contain it. Nothing is written. Errors: ErrBadName, ErrNoCounters.
func (r *Registry) SharedCounter(key string) (*Counter, error) {
	name, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	return r.counter(&Counter{r: r, name: name, key: sharedCounters + "." + name})
}

func (r *Registry) counter(c *Counter) (*Counter, error) {
	if r.counters == nil {
		return nil, ErrNoCounters
	}
	return c, nil
}

// Key is the counter's key.
func (c *Counter) Key() string { return c.name }

// alive refuses what is asked of a session that has ended.
func (c *Counter) alive() error {
	if c.session == nil {
		return nil
	}
	return c.session.Err()
}

// Add adds delta, which may be negative, and returns the sum just after it: no other add is between. So of all who add to a counter that falls to 0 exactly one
// is told so, and can act on it. ErrSessionEnded when the session has ended; an add that was on its way then is not seen any more.
func (c *Counter) Add(ctx context.Context, delta int64) (int64, error) {
	if err := c.alive(); err != nil {
		return 0, err
	}
	ctx, cancel := c.r.merge(ctx)
	defer cancel()
	sum, err := c.r.counters.Add(ctx, c.key, delta)
	return sum, closedOr(err, c.r)
}

// Get reads the counter. It has all that was acknowledged before the call, but where a leader was cut off from the others: for ten seconds; Add of 0 has it always.
func (c *Counter) Get(ctx context.Context) (int64, error) {
	if err := c.alive(); err != nil {
		return 0, err
	}
	ctx, cancel := c.r.merge(ctx)
	defer cancel()
	sum, err := c.r.counters.Get(ctx, c.key)
	return sum, closedOr(err, c.r)
}

// Reset subtracts what the counter holds, and returns the sums just before and just after, between which is no other add. after is not 0 where others
// added between the reading and the subtraction: that is theirs, and the next reset's. So the before of all resets, less what each left, adds up
// to all that was ever counted.
func (c *Counter) Reset(ctx context.Context) (before, after int64, err error) {
	read, err := c.Get(ctx)
	if err != nil {
		return 0, 0, err
	}
	if after, err = c.Add(ctx, -read); err != nil {
		return 0, 0, err
	}
	return after + read, after, nil
}

// Remove forgets the counter. One that is added to later begins at 0.
func (c *Counter) Remove(ctx context.Context) error {
	ctx, cancel := c.r.merge(ctx)
	defer cancel()
	return closedOr(c.r.counters.Purge(ctx, c.key), c.r)
}

// Sum adds up the counters of that key of all sessions that are alive in this process's view. What a dead one counted is not in it from the instant at which
// the view knows that it is dead. The counters are read one after the other, not at one instant. Errors: ErrBadName, ErrNoCounters, those of the store.
func (r *Registry) Sum(ctx context.Context, key string) (int64, error) {
	key, err := ParseKey(key)
	if err != nil {
		return 0, err
	}
	if r.counters == nil {
		return 0, ErrNoCounters
	}
	ctx, cancel := r.merge(ctx)
	defer cancel()
	counts, err := r.counters.List(ctx, sessionCounters+"."+key+".*")
	if err != nil {
		return 0, closedOr(err, r)
	}
	sum := int64(0)
	living := r.view.living()
	for key, n := range counts {
		if _, ok := living[counterSession(key)]; ok {
			sum += n
		}
	}
	return sum, nil
}

// counterSession is the session of a counter's key.
func counterSession(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// counterPause is how often the keeper of the scope looks for counters that dead sessions left.
const counterPause = time.Minute

// sweepCounters forgets, while this process keeps the scope, what dead sessions have counted. It runs until the registry is closed.
func (r *Registry) sweepCounters() {
	for pause(r.ctx, counterPause) {
		if !r.keeps() {
			continue
		}
		if n, err := r.forgetCounters(r.ctx); err != nil {
			r.log.Debug("forgetting the counters of dead sessions", "error", err)
		} else if n > 0 {
			r.log.Debug("forgot the counters of dead sessions", "sessions", n)
		}
	}
}

// forgetCounters does it once. A session's lease was in the log before it counted anything, so after a barrier a session that is not alive in the view is dead
// for ever, and not merely unknown to it.
func (r *Registry) forgetCounters(ctx context.Context) (sessions int, err error) {
	counts, err := r.counters.List(ctx, sessionCounters+".*.*")
	if err != nil || len(counts) == 0 {
		return 0, err
	}
	if err := r.Refresh(ctx); err != nil {
		return 0, err
	}
	living := r.view.living()
	dead := map[string]struct{}{}
	for key := range counts {
		session := counterSession(key)
		if _, ok := living[session]; !ok {
			dead[session] = struct{}{}
		}
	}
	for session := range dead {
		if err := r.counters.Purge(ctx, sessionCounters+".*."+session); err != nil {
			return sessions, err
		}
		sessions++
	}
	return sessions, nil
}

// keeps tells whether this process keeps the scope, as the view shows it.
func (r *Registry) keeps() bool {
	p, _ := r.view.pulse()
	return p != nil && p.Keeper == r.process
}
