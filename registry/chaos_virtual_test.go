package registry_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// Processes that claim one lock each again and again, and everything that can go wrong: no two of them ever serve in its name at the same moment, tokens
// only grow, and when all is well again somebody holds it.
func TestVirtualStrictNeverOverlaps(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newChaos(t, seed).run(t) })
		})
	}
}

type chaos struct {
	*world
	rnd   *rand.Rand
	procs []*registrytest.Process
	stop  chan struct{}
	wg    sync.WaitGroup

	mu     sync.Mutex
	held   []*registry.Registration // as far as their owners know
	tokens kvstore.Revision
	claims int
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{world: newWorld(t, virtualTTL), rnd: rand.New(rand.NewPCG(seed, 7)), stop: make(chan struct{})}
	for i := range 5 {
		role := registry.Node
		if i >= 3 {
			role = registry.Never
		}
		c.procs = append(c.procs, c.Start(t, &registrytest.ProcessOptions{
			Server: fmt.Sprintf("s%d", i), Servers: 1 + i%2*2, Role: role, Skew: time.Duration(i) * 17 * time.Minute,
		}))
	}
	return c
}

// pause sleeps, or returns false when the test is over.
func (c *chaos) pause(d time.Duration) bool {
	select {
	case <-c.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// claimLoop is an owner: it opens a session, claims the lock, holds it for a while, and lets go of it in one way or another.
func (c *chaos) claimLoop(t *testing.T, p *registrytest.Process, rnd *rand.Rand) {
	for c.pause(time.Duration(rnd.IntN(500)) * time.Millisecond) {
		s, err := p.NewSession(t.Context(), &registry.SessionOptions{Mode: registry.Strict})
		if err != nil {
			continue
		}
		for s.Err() == nil && c.pause(time.Duration(rnd.IntN(1000))*time.Millisecond) {
			reg, err := s.Register(t.Context(), "lock", nil)
			if err != nil {
				if !errors.Is(err, registry.ErrNameTaken) && rnd.IntN(3) == 0 {
					break
				}
				continue
			}
			c.mu.Lock()
			if token := reg.Token(); token > c.tokens {
				c.tokens = token
				c.claims++
			}
			c.held = append(c.held, reg)
			c.mu.Unlock()
			if !c.pause(time.Duration(rnd.IntN(8000)) * time.Millisecond) {
				return
			}
			if rnd.IntN(2) == 0 {
				_ = reg.Unregister(t.Context())
			} else {
				break
			}
		}
		_ = s.Close(t.Context())
	}
}

// faults has one thing after another go wrong, and well again.
func (c *chaos) faults() {
	for range 60 {
		p := c.procs[c.rnd.IntN(len(c.procs))]
		d := time.Duration(c.rnd.IntN(9000)) * time.Millisecond
		switch c.rnd.IntN(8) {
		case 0:
			p.Freeze()
			time.Sleep(d)
			p.Thaw()
		case 1:
			p.Cut([]string{"read error", "closed", "stale", ""}[c.rnd.IntN(4)])
			time.Sleep(d / 3)
			p.Reconnect(fmt.Sprintf("s%d", c.rnd.IntN(3)))
		case 2:
			p.Store.DelayFeed(d / 4)
			time.Sleep(d)
			p.Store.DelayFeed(0)
		case 3:
			p.Store.OnWrite(c.mischief())
			time.Sleep(d)
			p.Store.OnWrite(nil)
		case 4:
			lost := c.rnd.IntN(100)
			c.Hub.Filter(func(_, _ *registrytest.Peer, _ string) bool { return rand.IntN(100) >= lost })
			time.Sleep(d)
			c.Hub.Filter(nil)
		case 5:
			server, client, _ := p.Peer.Link()
			c.Hub.ReportLost(server, client, "read error")
			c.Hub.ReportLost(fmt.Sprintf("s%d", c.rnd.IntN(5)), "", "route")
		case 6:
			p.Clock.Set(d - 4500*time.Millisecond)
		case 7:
			p.Store.Gap()
		}
		time.Sleep(time.Duration(c.rnd.IntN(3000)) * time.Millisecond)
	}
}

// mischief makes a process's writes late, lost or unheard.
func (c *chaos) mischief() func([]kvstore.Op) registrytest.Fate {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(c.rnd.Uint64(), 1))
	return func([]kvstore.Op) registrytest.Fate {
		mu.Lock()
		defer mu.Unlock()
		d := time.Duration(1+rnd.IntN(4000)) * time.Millisecond
		switch rnd.IntN(6) {
		case 0:
			return registrytest.Fate{Lost: true}
		case 1:
			return registrytest.Fate{Unheard: true}
		case 2:
			return registrytest.Fate{Late: d}
		case 3:
			return registrytest.Fate{Delay: d}
		case 4:
			return registrytest.Fate{Err: kvstore.ErrUnavailable}
		}
		return registrytest.Fate{}
	}
}

// serving lists who would answer in the name of the lock now.
func (c *chaos) serving() (out []*registry.Registration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	for _, reg := range c.held {
		if id := reg.Session().ID(); reg.Serving() && !seen[id] {
			seen[id] = true
			out = append(out, reg)
		}
	}
	if len(c.held) > 50 {
		c.held = c.held[25:]
	}
	return out
}

func (c *chaos) run(t *testing.T) {
	for i, p := range c.procs {
		rnd := rand.New(rand.NewPCG(c.rnd.Uint64(), uint64(i)))
		c.wg.Go(func() { c.claimLoop(t, p, rnd) })
	}
	served := 0
	c.wg.Go(func() {
		for c.pause(3 * time.Millisecond) {
			switch now := c.serving(); {
			case len(now) > 1:
				t.Errorf("%s (token %d) and %s (token %d) serve at the same time",
					now[0].Session().ID(), now[0].Token(), now[1].Session().ID(), now[1].Token())
				return
			case len(now) == 1:
				served++
			}
		}
	})
	began := time.Now()
	c.faults()
	took := time.Since(began)
	time.Sleep(2 * virtualTTL) // all is well again, and what was late has come
	c.mu.Lock()
	before := c.claims
	c.mu.Unlock()
	time.Sleep(30 * time.Second)
	close(c.stop)
	for _, p := range c.procs {
		p.Kill()
	}
	c.wg.Wait()
	if c.claims == before {
		t.Error("nobody has claimed the lock in 30 s of peace")
	}
	t.Logf("%v of faults: %d claims, served in %v of it; %d entries", took, c.claims, time.Duration(served)*3*time.Millisecond, len(c.written("")))
}
