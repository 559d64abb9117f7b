package registry_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// A process that lost its connection does not serve until a refresh of its lease, begun on the new one, was applied in its own view; then it goes on as
// the same session with the same token.
func TestVirtualLinkLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		down func(p *registrytest.Process)
		up   func(p *registrytest.Process)
	}{
		{"its connection", func(p *registrytest.Process) { p.Cut("") }, func(p *registrytest.Process) { p.Reconnect("s2") }},
		{"a node its routes", func(p *registrytest.Process) { p.Peer.Suspend(false) }, func(p *registrytest.Process) { p.Peer.Suspend(true) }},
		{"too short to be seen", func(*registrytest.Process) {}, func(p *registrytest.Process) { p.Peer.Reconnect("s2") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, nil)
				reg := own(t, p, registry.Strict, "calc")
				settle()
				token, id := reg.Token(), reg.Session().ID()
				before := w.lease(t, id).Revision
				p.Store.DelayFeed(100 * time.Millisecond)
				p.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate { return registrytest.Fate{Delay: 50 * time.Millisecond} })
				tt.down(p)
				time.Sleep(10 * time.Millisecond)
				if tt.name != "too short to be seen" && reg.Serving() {
					t.Fatal("it serves while it is cut off")
				}
				began := time.Now()
				tt.up(p)
				time.Sleep(2 * time.Millisecond) // the hub's
				for !reg.Serving() {
					if reg.Err() != nil || time.Since(began) > time.Second {
						t.Fatalf("not back: %v", reg.Err())
					}
					time.Sleep(time.Millisecond)
				}
				if back := time.Since(began); back < 150*time.Millisecond {
					t.Fatalf("it served %v after it was back: the refresh takes 50 ms and the feed 100", back)
				} else {
					t.Logf("serves again after %v", back)
				}
				lease := w.lease(t, id)
				if lease.Revision <= before {
					t.Fatal("the lease was not refreshed")
				}
				if server, client, _ := p.Peer.Link(); !strings.Contains(string(lease.Value), `"client":"`+client+`"`) || !strings.Contains(string(lease.Value), server) {
					t.Fatalf("the lease does not name the new connection: %s", lease.Value)
				}
				wantAlive(t, 10*time.Second, reg)
				if reg.Token() != token || reg.Session().ID() != id {
					t.Fatal("another session or token")
				}
			})
		})
	}
}

// A refresh that was begun on the connection before proves nothing about the new one.
func TestVirtualOldRefreshDoesNotResume(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Strict, "calc")
		settle()
		p.Store.OnWrite(func([]kvstore.Op) registrytest.Fate { return registrytest.Fate{Delay: 50 * time.Millisecond} })
		flap := func() {
			p.Peer.Suspend(false)
			p.Peer.Suspend(true)
		}
		flap()
		time.Sleep(20 * time.Millisecond) // the first refresh is on its way
		flap()
		for range 75 { // it arrives, and the second one is written
			time.Sleep(time.Millisecond)
			if reg.Serving() {
				t.Fatal("it serves by a refresh of the connection before")
			}
		}
		time.Sleep(10 * time.Millisecond)
		wantAlive(t, time.Second, reg)
	})
}

// A connection that flaps while refreshes are on their way comes back all the same.
func TestVirtualLinkFlaps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		settle()
		p.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate { return registrytest.Fate{Delay: 3 * time.Millisecond} })
		for i := range 200 {
			p.Peer.Suspend(false)
			time.Sleep(time.Duration(i%7) * time.Millisecond)
			p.Peer.Suspend(true)
			time.Sleep(time.Duration(i%5) * time.Millisecond)
		}
		time.Sleep(30 * time.Millisecond)
		wantAlive(t, 5*time.Second, reg)
	})
}

// The owner takes the larger of its two clocks. A time of day set forward suspends it until its lease is refreshed, one set back does nothing, and
// neither ends it; a machine that slept has to ask first.
func TestVirtualClocks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *registrytest.Clock)
		serves bool // at once
	}{
		{"set forward", func(c *registrytest.Clock) { c.Set(time.Minute) }, false},
		{"set back", func(c *registrytest.Clock) { c.Set(-24 * time.Hour) }, true},
		{"slept", func(c *registrytest.Clock) { c.Sleep(7 * time.Second) }, false},
		{"slept a little", func(c *registrytest.Clock) { c.Sleep(time.Second) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, nil)
				reg := own(t, p, registry.Strict, "calc")
				settle()
				tt.change(p.Clock)
				if reg.Serving() != tt.serves {
					t.Fatalf("serving %v", reg.Serving())
				}
				time.Sleep(1100 * time.Millisecond)
				wantAlive(t, 30*time.Second, reg)
			})
		})
	}
}

// The keeper counts boot time only: its time of day may be set as it likes.
func TestVirtualKeeperClock(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		settle()
		for _, d := range []time.Duration{time.Hour, -2 * time.Hour, 48 * time.Hour} {
			k.Clock.Set(d)
			wantAlive(t, 10*time.Second, reg)
		}
		k.Clock.Sleep(time.Hour) // it slept, and nobody answered it meanwhile
		wantAlive(t, 20*time.Second, reg)
		if n := len(w.written("leases.")); n > 5 {
			t.Logf("%d writes of the lease", n)
		}
	})
}

// Validity is never longer than nine tenths of a TTL after the last answer that was reported.
func TestVirtualValidityRunsDown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Strict, "calc")
		settle()
		last := watchValidity(t, reg)
		began := time.Now()
		p.Store.Cut()                        // the link stands: only what the view shows can keep it valid
		time.Sleep(virtualTTL - time.Second) // and a little less than it takes to be ended
		valid := last().Sub(began)
		if t.Logf("valid for %v after the log was out of reach", valid); valid > virtualTTL*9/10 || valid < virtualTTL*9/10-2100*time.Millisecond {
			t.Fatalf("valid for %v", valid)
		}
		select {
		case <-reg.Session().Done():
			t.Fatal("it gave up by itself")
		default:
		}
		p.Store.Restore()
		time.Sleep(1500 * time.Millisecond)
		wantAlive(t, 10*time.Second, reg)
	})
}

// In strict mode nobody claims in a log that he first saw less than a TTL ago.
func TestVirtualStrictWaitsForItsLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		first := w.Start(t, nil)
		own(t, first, registry.Service, "other")
		settle()
		p := w.Start(t, nil)
		began := time.Now()
		own(t, p, registry.Service, "service")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Fatalf("a service's claim took %v", took)
		}
		own(t, p, registry.Strict, "lock")
		if took := time.Since(began); took < virtualTTL || took > virtualTTL+time.Second {
			t.Fatalf("a strict claim took %v in a log seen for the first time", took)
		}
		began = time.Now()
		own(t, p, registry.Strict, "lock2")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Fatalf("the next took %v", took)
		}
		w.Log.Reset()
		began = time.Now()
		synctest.Wait()
		own(t, p, registry.Strict, "lock")
		if took := time.Since(began); took < virtualTTL {
			t.Fatalf("a strict claim took %v in a log made anew", took)
		}
	})
}
