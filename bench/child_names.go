package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// name is the name of number i among those that begin with prefix.
func name(prefix string, i int) string { return fmt.Sprintf("%s-%d.server-%d", prefix, i%100, i) }

func options(prefix string, i int, group string) registry.RegisterOptions {
	o := registry.RegisterOptions{Instance: fmt.Sprintf("%s-i%d", prefix, i)}
	if group != "" {
		o.Groups = []string{group}
	}
	return o
}

// register claims n names, each with a membership where a group is given: one by one, many at once, or (many over n) all in one call.
func (c *child) register(ctx context.Context, r Request) (Reply, error) {
	s, err := c.session(ctx)
	if err != nil {
		return Reply{}, err
	}
	began := time.Now()
	switch {
	case r.Many > r.N:
		err := c.batches(ctx, s, r)
		return Reply{Elapsed: time.Since(began), N: r.N}, err
	case r.Many > 1:
		samples := make([]time.Duration, r.N)
		err := inParallel(r.Many, r.N, func(i int) error {
			began := time.Now()
			o := options(r.Name, i, r.Group)
			_, err := s.Register(ctx, name(r.Name, i), &o)
			samples[i] = time.Since(began)
			return err
		})
		return Reply{Elapsed: time.Since(began), N: r.N, Samples: samples}, err
	}
	var samples []time.Duration
	for i := range r.N {
		began := time.Now()
		o := options(r.Name, i, r.Group)
		if _, err := s.Register(ctx, name(r.Name, i), &o); err != nil {
			return Reply{}, err
		}
		samples = append(samples, time.Since(began))
	}
	return Reply{Elapsed: time.Since(began), N: r.N, Samples: samples}, nil
}

// batchNames is how many names go into one batch: with a membership each they fill the store's.
const batchNames = 500

func (c *child) batches(ctx context.Context, s *registry.Session, r Request) error {
	for from := 0; from < r.N; from += batchNames {
		var names []registry.NameOptions
		for i := from; i < min(from+batchNames, r.N); i++ {
			names = append(names, registry.NameOptions{Name: name(r.Name, i), RegisterOptions: options(r.Name, i, r.Group)})
		}
		if _, err := s.RegisterMany(ctx, names); err != nil {
			return err
		}
	}
	return nil
}

// inParallel calls do for 0 to n-1 from so many goroutines and returns an error of one.
func inParallel(workers, n int, do func(i int) error) error {
	next := make(chan int)
	errs := make(chan error, workers)
	for range workers {
		go func() {
			var failed error
			for i := range next {
				if failed == nil {
					failed = do(i)
				}
			}
			errs <- failed
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	var first error
	for range workers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// claim claims one name at a moment that was agreed, and says whether it got it.
func (c *child) claim(ctx context.Context, r Request) (Reply, error) {
	s, err := c.session(ctx)
	if err != nil {
		return Reply{}, err
	}
	time.Sleep(time.Duration(r.At - mono())) // three that spin would take the two cores of a small machine from those who work
	began := time.Now()
	_, err = s.Register(ctx, r.Name, nil)
	took := time.Since(began)
	if err != nil && !isTaken(err) {
		return Reply{}, err
	}
	return Reply{OK: err == nil, Elapsed: took}, nil
}

// publish publishes bare messages into a stream of three replicas where there are three nodes, one by one or many at once.
func (c *child) publish(ctx context.Context, r Request) (Reply, error) {
	js, err := jetstream.New(c.conn.NATS())
	if err != nil {
		return Reply{}, err
	}
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: r.Name, Subjects: []string{r.Name + ".>"}, Replicas: max(1, r.Size)}); err != nil {
		return Reply{}, err
	}
	data := make([]byte, 300) // about a record
	samples := make([]time.Duration, r.N)
	began := time.Now()
	err = inParallel(max(1, r.Many), r.N, func(i int) error {
		began := time.Now()
		_, err := js.Publish(ctx, fmt.Sprintf("%s.%d", r.Name, i), data)
		samples[i] = time.Since(began)
		return err
	})
	return Reply{Elapsed: time.Since(began), N: r.N, Samples: samples}, err
}

// hold claims n names in a session of their own, or one name.
func (c *child) hold(ctx context.Context, r Request) (Reply, error) {
	s, err := c.reg.NewSession(ctx, nil)
	if err != nil {
		return Reply{}, err
	}
	c.sessions = append(c.sessions, s)
	if r.N == 0 {
		_, err := s.Register(ctx, r.Name, nil)
		return Reply{}, err
	}
	return Reply{}, c.batches(ctx, s, r)
}

// manySessions opens n sessions with a name each.
func (c *child) manySessions(ctx context.Context, r Request) (Reply, error) {
	opened := make([]*registry.Session, r.N)
	err := inParallel(16, r.N, func(i int) error {
		s, err := c.reg.NewSession(ctx, nil)
		if err != nil {
			return err
		}
		opened[i] = s
		_, err = s.Register(ctx, fmt.Sprintf("%s-%d", r.Name, i), nil)
		return err
	})
	c.sessions = append(c.sessions, opened...)
	return Reply{N: r.N}, err
}

// keys are n of the names in the view, at random.
func (c *child) keys(n int) []string {
	names := c.reg.Names()
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:min(n, len(names))]
}

// lookup looks names up at random for about so many times, on one goroutine; with size 1 in a bare map of the same names.
func (c *child) lookup(_ context.Context, r Request) (Reply, error) {
	keys := c.keys(len(c.reg.Names()))
	if len(keys) == 0 {
		return Reply{}, registry.ErrNotFound
	}
	bare := make(map[string]*int, len(keys))
	for i, k := range keys {
		bare[k] = &i
	}
	keys = slices.Clone(keys)
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	for n := 0; n < r.N; {
		for _, k := range keys[:min(len(keys), r.N-n)] {
			if r.Size == 1 {
				if bare[k] == nil {
					return Reply{}, registry.ErrNotFound
				}
			} else if _, err := c.reg.Whereis(k); err != nil {
				return Reply{}, err
			}
			n++
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return Reply{N: r.N, Elapsed: took, Bytes: float64(after.Mallocs-before.Mallocs) / float64(r.N)}, nil
}

// whereis waits until a name is in the view.
func (c *child) whereis(ctx context.Context, r Request) (Reply, error) {
	_, err := c.reg.Await(ctx, r.Name)
	return Reply{At: mono()}, err
}

// members lists a group so many times.
func (c *child) members(_ context.Context, r Request) (Reply, error) {
	began := time.Now()
	found := 0
	for range r.N {
		list, err := c.reg.Members(r.Group)
		if err != nil {
			return Reply{}, err
		}
		found = len(list)
	}
	return Reply{N: r.N, Elapsed: time.Since(began), Bytes: float64(found)}, nil
}

// join adds n members to a group, each an instance.
func (c *child) join(ctx context.Context, r Request) (Reply, error) {
	s, err := c.session(ctx)
	if err != nil {
		return Reply{}, err
	}
	began := time.Now()
	err = inParallel(64, r.N, func(i int) error {
		_, err := s.Join(ctx, r.Group, &registry.JoinOptions{Instance: fmt.Sprintf("%s-i%d", r.Name, i)})
		return err
	})
	return Reply{N: r.N, Elapsed: time.Since(began)}, err
}

// leads says whether this node leads the scope's log, and whether it keeps the scope.
func (c *child) leads(_ context.Context, r Request) (Reply, error) {
	k, ok := c.reg.Keeper()
	return Reply{
		OK: c.node.Server().JetStreamIsStreamLeader("$G", "KV_toolbus_"+r.Scope),
		N:  map[bool]int{true: 1}[ok && k.Node == c.reg.Node()],
	}, nil
}

// writeUntil writes, one entry after the other, until a time, and tells when each was acknowledged.
func (c *child) writeUntil(ctx context.Context, r Request) (Reply, error) {
	store, err := kvstore.OpenJetStream(ctx, c.conn.NATS(), c.reg.Scope(), &kvstore.JetStreamOptions{Timeout: 500 * time.Millisecond})
	if err != nil {
		return Reply{}, err
	}
	c.waiting = make(chan Reply, 1)
	go func() {
		var ats []int64
		for i := 0; mono() < r.At; i++ {
			if _, err := store.Create(ctx, fmt.Sprintf("barrier.bench-%d-%d", mono(), i), []byte("{}"), 60*time.Second); err == nil {
				ats = append(ats, mono())
			}
		}
		c.waiting <- Reply{Ats: ats}
	}()
	return Reply{}, nil
}
