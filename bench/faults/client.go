//go:build linux

package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
)

// ClientConfig is what a client's process is told.
type ClientConfig struct {
	Scope
	Name, ID   string
	URLs       string
	Seed       [2]uint64
	Workload   Workload
	Rate       float64
	WallOffset time.Duration
}

// Workload says how much a client does, and with what.
type Workload struct {
	Workers  int           // that change things
	Pause    time.Duration // between two calls of a worker, on average
	Reads    time.Duration // between two cached reads
	Names    int           // that service sessions contend for
	Strict   int           // the same of strict ones
	Shared   int           // names that are shared
	Groups   int
	Deadline time.Duration // of a call
}

// client is a client's process.
type client struct {
	cfg     *ClientConfig
	journal *Journal
	marks   *Marks
	reg     *registry.Registry
	fold    *fold

	mu    sync.Mutex
	owns  map[int]*owned // by worker
	holds map[int]*held  // by slot
	work  sync.WaitGroup
}

// owned is one session of the client.
type owned struct {
	s     *registry.Session
	mode  registry.Mode
	names map[string]*held // that it holds
	group map[string]*registry.Membership
}

// held is one name that a session holds.
type held struct {
	reg   *registry.Registration
	name  string
	slot  int
	token uint64
}

// runClient is a client's process.
func runClient(ctx context.Context, cfg *ClientConfig, t *talk) error {
	c := &client{cfg: cfg, owns: map[int]*owned{}, holds: map[int]*held{}}
	var err error
	if c.journal, err = OpenJournal(cfg.Dir, cfg.ID); err != nil {
		return err
	}
	if c.marks, err = OpenMarks(cfg.Dir, cfg.ID); err != nil {
		return err
	}
	c.journal.Write(Record{What: WStart})
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	_, c.reg, err = openScope(ctx, conn, cfg.Scope, registry.Options{
		Node: cfg.Name, Role: registry.Never, Logger: logger(cfg.ID), Clock: NewSkew(cfg.Rate, cfg.WallOffset),
	})
	if err != nil {
		return err
	}
	c.fold = newFold(c.journal)
	live, end := context.WithCancel(ctx)
	defer end()
	c.work.Go(func() { c.fold.follow(live, c.reg) })
	c.work.Go(func() { c.sample(live) })
	if err := t.say(Ready{Ready: true}); err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	var workers sync.WaitGroup
	for o := range t.orders {
		switch o.Do {
		case "go":
			c.start(working, &workers)
			err = t.say(Ready{Ready: true})
		case "quiet":
			stop()
			workers.Wait()
			err = t.say(Ready{Ready: true})
		case "state":
			s := seeState(ctx, c.reg, c.fold)
			c.believe(&s)
			err = t.say(s)
		case "probe":
			err = t.say(c.probe(ctx))
		case "stop":
			stop()
			workers.Wait()
			closing, cancel := context.WithTimeout(ctx, 10*time.Second)
			err = c.reg.Close(closing)
			cancel()
			end()
			c.work.Wait()
			return errors.Join(err, conn.Close(), c.journal.Close(), c.marks.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// connect tries until some node answers: a client may be started while the one before it in its list is down.
func (c *client) connect(ctx context.Context) (*bus.Conn, error) {
	for {
		conn, err := bus.Connect(ctx, c.cfg.URLs, &bus.ConnectOptions{Name: c.cfg.Name, Timeout: 2 * time.Second, Logger: logger(c.cfg.ID)})
		if err == nil || ctx.Err() != nil || !errors.Is(err, bus.ErrUnreachable) {
			return conn, err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// start starts the workers.
func (c *client) start(ctx context.Context, workers *sync.WaitGroup) {
	for i := range c.cfg.Workload.Workers {
		mode := registry.Service
		if i%2 == 1 {
			mode = registry.Strict
		}
		w := &worker{client: c, number: i, mode: mode, rand: rand.New(rand.NewPCG(c.cfg.Seed[0], c.cfg.Seed[1]+uint64(i)))}
		workers.Go(func() { w.run(ctx) })
	}
	r := rand.New(rand.NewPCG(c.cfg.Seed[0], c.cfg.Seed[1]+1000))
	workers.Go(func() { c.read(ctx, r) })
}

// sample asks every two milliseconds, of all that is held, whether the owner may serve.
func (c *client) sample(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		all := make([]*held, 0, len(c.holds))
		for _, h := range c.holds {
			all = append(all, h)
		}
		c.mu.Unlock()
		for _, h := range all {
			before := Now()
			if h.reg.Serving() {
				c.marks.Served(h.slot, before, Now())
			}
			if err := h.reg.Err(); err != nil {
				c.lost(h, err)
			}
		}
	}
}

// holding takes down that a session has come to hold a name.
func (c *client) holding(o *owned, name string, reg *registry.Registration, how string) *held {
	if reg.Token() == 0 && reg.Err() != nil { // lost before it could be looked at
		return &held{reg: reg, name: name}
	}
	slot, err := c.marks.Take()
	if err != nil {
		panic(err) // a run makes some hundred
	}
	h := &held{reg: reg, name: name, slot: slot, token: uint64(reg.Token())}
	c.journal.Write(Record{What: WHold, Name: name, Sess: reg.Session().ID(), Mode: string(o.mode), Token: h.token, Slot: slot, Do: how})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds[slot] = h
	o.names[name] = h
	return h
}

// lost takes down that an owner was told that a name is his no more.
func (c *client) lost(h *held, err error) {
	c.mu.Lock()
	_, had := c.holds[h.slot]
	delete(c.holds, h.slot)
	for _, o := range c.owns {
		if o.names[h.name] == h {
			delete(o.names, h.name)
		}
	}
	c.mu.Unlock()
	if had {
		c.journal.Write(Record{What: WLost, Name: h.name, Sess: h.reg.Session().ID(), Token: h.token, Slot: h.slot, Err: err.Error()})
	}
}

// believe adds what the sessions of this process hold, as far as they know.
func (c *client) believe(s *State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Holds = map[string]Seen{}
	for _, h := range c.holds {
		if h.reg.Err() == nil && h.reg.Session().Err() == nil {
			s.Holds[h.name+" "+h.reg.Session().ID()] = Seen{uint64(h.reg.Token()), h.reg.Session().ID()}
		}
	}
	for _, o := range c.owns {
		if o.s.Err() == nil {
			s.Sessions = append(s.Sessions, o.s.ID())
		}
	}
}

// session returns the worker's session, a new one where the last has ended.
func (w *worker) session(ctx context.Context) *owned {
	c := w.client
	c.mu.Lock()
	o := c.owns[w.number]
	c.mu.Unlock()
	if o != nil && o.s.Err() == nil {
		return o
	}
	next := &owned{mode: w.mode, names: map[string]*held{}, group: map[string]*registry.Membership{}}
	opts := &registry.SessionOptions{Mode: w.mode, Receiver: &registry.Receiver{
		Accept:   func(registry.Record) (string, bool) { return nuid.Next(), true },
		Received: func(reg *registry.Registration) { c.holding(next, reg.Name(), reg, DoTransfer) },
	}}
	call, cancel := context.WithTimeout(ctx, c.cfg.Workload.Deadline)
	defer cancel()
	id := c.journal.Call(Record{Do: DoOpen, Mode: string(w.mode), Limit: limit(call)})
	s, err := c.reg.NewSession(call, opts)
	c.journal.Return(id, result(err, Record{}))
	if err != nil {
		return nil
	}
	next.s = s
	c.mu.Lock()
	c.owns[w.number] = next
	c.mu.Unlock()
	c.work.Go(func() {
		<-s.Done()
		c.journal.Write(Record{What: WEnd, Sess: s.ID(), Mode: string(w.mode), Err: s.Err().Error()})
	})
	return next
}
