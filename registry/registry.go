package registry

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/kvstore"
)

// Options are the ways to open a registry; nil and the zero value are ready to use.
type Options struct {
	// Scope is the scope that the store belongs to; "" is "default". It is part of the subjects on which processes hear of one another.
	Scope string
	// Node is what this process is called in records, for people; "" is the host's name.
	Node string
	// Peers connects the processes of the scope. With nil, this process must be the only one on the store.
	Peers Peers
	// Role says whether this process may keep the scope; "" is Candidate.
	Role Role
	// TTL and Pulse are used where the log does not say its own; 0 is DefaultTTL and DefaultPulse.
	TTL, Pulse time.Duration
	// Counters keep the counters of the scope. nil is none, but for a process that has no Peers: its own memory.
	Counters kvstore.Counters
	// History takes down who held which name; nil: nobody does. Of those that may keep the scope every node writes, else the keeper.
	History kvstore.History
	// Logger takes one line an event; nil discards.
	Logger *slog.Logger
	// Clock is the machine's clock; nil reads it. Tests give another.
	Clock Clock
}

// Registry is one process's part in a scope: a view that follows the log, the sessions that this process owns, and, when it is its turn, the
// keeper. Its methods may be called concurrently.
type Registry struct {
	store    kvstore.Store
	counters kvstore.Counters // nil: none
	history  kvstore.History  // nil: none
	peers    Peers
	clock    Clock
	log      *slog.Logger
	scope    string
	node     string
	process  string // an id of this very process and registry
	role     Role
	host     string
	view     *view
	keeper   *keeper
	check    chan kvstore.Check

	mu         sync.Mutex
	timing     timing
	fallback   timing
	linkUp     bool
	linkTold   bool   // linkUp was told, not assumed
	logSeen    moment // when this process first saw the log that it follows
	pulsed     moment // when the newest pulse was applied
	writtenAt  moment // since when, at the latest, it was in the log
	course     course
	sessions   map[string]*Session
	opening    map[string]struct{}     // lease ids whose creation is on its way
	contenders map[string][]*contender // of this process, by name
	roll       rollCalls
	waiting    []waiter
	err        error

	lines lines // of those who wait for members

	synced chan struct{}
	done   chan struct{} // closed by Close, before it waits
	tick   chan struct{} // asks the owner loop to look at once
	cancel context.CancelFunc
	ctx    context.Context // of the loops and of writes that go on after a caller has left; ends with Close
	wg     sync.WaitGroup
	spawns sync.Mutex // guards ended; under it nothing else is taken, so that anybody may spawn whatever he holds
	ended  bool
	stops  []func()
}

// Open starts following store and returns at once; reading waits for nothing either, so that until the first snapshot has arrived (WaitSynced)
// the view is empty. The registry makes nothing in the store until something is registered. Close it in the end. The context
// is for opening alone.
func Open(ctx context.Context, store kvstore.Store, opts *Options) (*Registry, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Scope == "" {
		o.Scope = "default"
	}
	scope, err := ParseScope(o.Scope)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	if o.Node == "" {
		o.Node = host
	}
	if o.Role == "" {
		o.Role = Candidate
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Counters == nil && o.Peers == nil {
		o.Counters = &kvstore.MemoryCounters{}
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	fallback := timing{ttl: o.TTL, pulse: o.Pulse}
	if fallback.ttl <= 0 {
		fallback.ttl = DefaultTTL
	}
	if fallback.pulse <= 0 {
		fallback.pulse = DefaultPulse
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &Registry{
		store: store, counters: o.Counters, history: o.History, peers: o.Peers, clock: o.Clock, log: o.Logger, scope: scope, node: o.Node, process: nuid.Next(), role: o.Role, host: host,
		view: newView(), check: make(chan kvstore.Check, 1), timing: fallback, fallback: fallback, linkUp: true,
		sessions: map[string]*Session{}, contenders: map[string][]*contender{}, opening: map[string]struct{}{},
		synced: make(chan struct{}), done: make(chan struct{}), tick: make(chan struct{}, 1),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.keeper = newKeeper(r)
	if err := r.listen(); err != nil {
		r.cancel()
		return nil, err
	}
	if r.history != nil && r.role != Never {
		q := newHistoryWriter(r) // before the first entry is applied, so that none is missed
		r.wg.Go(func() { r.writeHistory(q) })
	}
	r.wg.Go(r.follow)
	r.wg.Go(r.own)
	if r.role != Never {
		r.wg.Go(r.keeper.run)
		if r.counters != nil {
			r.wg.Go(r.sweepCounters)
		}
	}
	return r, nil
}

// listen subscribes to what peers tell.
func (r *Registry) listen() error {
	if r.peers == nil {
		return nil
	}
	if r.role != Never {
		for _, sub := range []struct {
			subject string
			fn      func([]byte) []byte
		}{
			{r.subject("keeper." + r.process), r.keeper.onAnswer},
			{r.subject("report"), r.keeper.onReport},
		} {
			stop, err := r.peers.Subscribe(sub.subject, sub.fn)
			if err != nil {
				r.unlisten()
				return err
			}
			r.stops = append(r.stops, stop)
		}
		r.stops = append(r.stops, r.peers.NotifyLost(r.keeper.onLost))
	}
	r.stops = append(r.stops, r.peers.NotifyLink(r.onLink))
	return nil
}

func (r *Registry) unlisten() {
	for _, stop := range r.stops {
		stop()
	}
}

// subject names a subject of this scope's control plane.
func (r *Registry) subject(rest string) string { return controlSubject(r.scope, rest) }

func controlSubject(scope, rest string) string { return "toolbus.ctl." + scope + "." + rest }

// Close ends the sessions of this process, each with one entry, while ctx lasts, then stops all that Open started. What ctx leaves undone
// the keeper does later. Close returns the first error that a session's end met.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		r.wg.Wait()
		return nil
	}
	r.err = ErrClosed
	open := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		open = append(open, s)
	}
	r.mu.Unlock()
	var err error
	for _, s := range open {
		if e := s.Close(ctx); e != nil && err == nil {
			err = e
		}
	}
	close(r.done)
	r.unlisten()
	r.spawns.Lock()
	r.ended = true
	r.spawns.Unlock()
	r.cancel()
	r.wg.Wait()
	return err
}

// spawn runs fn on a goroutine that Close waits for; false when the registry is closed already.
func (r *Registry) spawn(fn func()) bool {
	r.spawns.Lock()
	defer r.spawns.Unlock()
	if r.ended {
		return false
	}
	r.wg.Go(fn)
	return true
}

// follow applies the log to the view and tells everybody who waits for it.
func (r *Registry) follow() {
	var backoff backoff
	for r.ctx.Err() == nil {
		for step, err := range r.store.Watch(r.ctx, &kvstore.WatchOptions{Check: r.check}) {
			if err != nil {
				r.log.Warn("following the log", "scope", r.scope, "error", err)
				break
			}
			backoff.reset()
			r.apply(step)
		}
		backoff.wait(r.ctx)
	}
}

// apply takes one step, in this order: the view, then what this process owns, then the keeper, then those who wait for a revision. So
// whoever waited finds all of it done.
func (r *Registry) apply(step kvstore.Step) {
	if step.Kind == kvstore.Snapshot {
		r.settings(step)
	}
	changes, newLog := r.view.apply(step)
	if newLog {
		r.log.Warn("the log was made anew", "scope", r.scope, "log", step.Log, "revision", step.Revision)
	}
	for _, c := range changes {
		if c.new != nil && c.new.bad != "" {
			r.log.Warn("a record that holds nothing", "key", c.key, "revision", c.new.revision, "why", c.new.bad)
		}
	}
	r.ownStep(changes, newLog)
	r.keeper.onStep(changes, newLog)
	r.wake()
}

// settings reads what the log says about its own timing.
func (r *Registry) settings(step kvstore.Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.fallback
	if d, err := time.ParseDuration(step.Metadata[MetadataTTL]); err == nil && d > 0 {
		t.ttl = d
	}
	if d, err := time.ParseDuration(step.Metadata[MetadataPulse]); err == nil && d > 0 {
		t.pulse = d
	}
	r.timing = t
	if _, log, _ := r.view.at(); step.Log != "" && step.Log != log {
		r.logSeen = read(r.clock)
	}
}

// times returns the timing in force.
func (r *Registry) times() timing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.timing
}

// TTL is how long a session of this scope may be silent.
func (r *Registry) TTL() time.Duration { return r.times().ttl }

// Scope is the scope's name.
func (r *Registry) Scope() string { return r.scope }

// Node is what this process is called in records.
func (r *Registry) Node() string { return r.node }

// askCheck asks the watch to compare itself with the log. A check that waits already is enough, but for the bigger kind.
func (r *Registry) askCheck(c kvstore.Check) {
	for {
		select {
		case r.check <- c:
			return
		default:
		}
		select {
		case waits := <-r.check:
			c = max(c, waits)
		default:
		}
	}
}

// backoff is a wait that grows, with jitter, so that many who fail together do not try again together.
type backoff struct {
	last, waited time.Duration
	explained    bool // one refusal was tried again without a wait
}

func (b *backoff) reset() { *b = backoff{} }

// wait waits, or returns false when ctx ends.
func (b *backoff) wait(ctx context.Context) bool {
	b.last = min(max(2*b.last, 10*time.Millisecond), time.Second)
	b.waited += b.last
	return pause(ctx, b.last/2+rand.N(b.last))
}

// pause waits for d, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// merge returns a context that ends with either. A write that a session makes must not outlive the registry.
func (r *Registry) merge(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

// closed tells whether err is the end of this registry or of the caller's patience.
func closedOr(err error, r *Registry) error {
	if errors.Is(err, context.Canceled) && r.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}
