package registry_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// watchValidity notes the last moment at which a registration served.
func watchValidity(t *testing.T, reg *registry.Registration) (last func() time.Time) {
	stop, done := make(chan struct{}), make(chan struct{})
	var served time.Time
	go func() {
		defer close(done)
		for {
			if reg.Serving() {
				served = time.Now()
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() time.Time {
		close(stop)
		<-done
		return served
	}
}

// Who is frozen is gone within a TTL and two seconds, and has ceased to serve before.
func TestVirtualFrozenOwner(t *testing.T) {
	for _, mode := range []registry.Mode{registry.Service, registry.Strict} {
		t.Run(string(mode), func(t *testing.T) {
			var quickest, slowest, margin time.Duration
			for phase := range 10 {
				inWorld(t, func(t *testing.T, w *world) {
					k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
					p := w.Start(t, &registrytest.ProcessOptions{Server: "s2", Skew: time.Duration(phase) * time.Hour})
					reg := own(t, p, mode, "calc")
					time.Sleep(10*time.Second + time.Duration(phase)*100*time.Millisecond)
					last := watchValidity(t, reg)
					began := time.Now()
					p.Freeze()
					got, ended := endOf(t, k, reg, began, virtualTTL+2*time.Second)
					served := last()
					verdict := began.Add(got.after)
					if !ended || got.reason != registry.ReasonSilent {
						t.Fatalf("ended %v: %+v", ended, got)
					}
					if !served.Before(verdict) {
						t.Fatalf("it served until %v after it was frozen, and was ended after %v", served.Sub(began), got.after)
					}
					if quickest == 0 || got.after < quickest {
						quickest = got.after
					}
					slowest = max(slowest, got.after)
					if m := verdict.Sub(served); margin == 0 || m < margin {
						margin = m
					}
					p.Thaw()
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					if reg.Serving() || reg.Err() == nil {
						t.Fatal("it serves after its end")
					}
				})
			}
			t.Logf("frozen: gone after %v to %v, ceased to serve %v before that at the least (TTL %v)", quickest, slowest, margin, virtualTTL)
		})
	}
}

// Silence takes at least four roll calls, however short the TTL.
func TestVirtualFourRollCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2*time.Second)
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Strict, "calc")
		settle()
		began := time.Now()
		p.Freeze()
		wantEnd(t, k, reg, began, 4*time.Second, 6500*time.Millisecond, registry.ReasonSilent)
		missing := 0
		for _, b := range w.pulses(t, began) {
			if len(b.Missing) > 0 {
				missing++
			}
		}
		if missing < 4 {
			t.Errorf("missing in %d pulses", missing)
		}
	})
}

// A new keeper starts all clocks anew: what the old one counted is not inherited.
func TestVirtualNewKeeperCountsAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: "s1"})
		p := w.Start(t, &registrytest.ProcessOptions{Server: "s9"})
		reg := own(t, p, registry.Strict, "calc")
		settle()
		next := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: "s2"})
		time.Sleep(time.Second)
		p.Freeze()
		time.Sleep(5 * time.Second)
		began := time.Now()
		k.Kill()
		got, ended := endOf(t, next, reg, began, 15*time.Second)
		first := w.pulses(t, began.Add(time.Nanosecond))[0].at
		if since := began.Add(got.after).Sub(first); !ended || since < virtualTTL || since > virtualTTL+2*time.Second {
			t.Fatalf("ended %v, %v after the new keeper's first pulse", ended, since)
		} else {
			t.Logf("ended %v after the new keeper's first pulse", since)
		}
	})
}

// Keepers that are frozen and killed one after another, ten times each, end nobody who lives.
func TestVirtualKeepersComeAndGo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var regs []*registry.Registration
		for i := range 20 {
			p := w.Start(t, &registrytest.ProcessOptions{Role: registry.Never, Server: fmt.Sprintf("o%d", i%3)})
			regs = append(regs, own(t, p, []registry.Mode{registry.Service, registry.Strict}[i%2], fmt.Sprintf("n%d", i)))
		}
		start := func(i int) *registrytest.Process {
			return w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: fmt.Sprintf("s%d", i)})
		}
		now := start(0)
		for i := range 20 {
			wantAlive(t, 3*time.Second+time.Duration(i)*70*time.Millisecond, regs...)
			next := start(i + 1)
			if i%2 == 0 {
				now.Kill()
			} else {
				now.Freeze()
				wantAlive(t, 10*time.Second, regs...)
				now.Thaw()
				wantAlive(t, 5*time.Second, regs...)
				now.Kill()
			}
			now = next
		}
		wantAlive(t, 10*time.Second, regs...)
	})
}

// While the scope is short of a keeper a dead session stays, and its end comes with the next keeper.
func TestVirtualDeadWithTheKeeper(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: "s1"})
		lost := own(t, k, "", "with-the-keeper")
		settle()
		other := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: "s2"})
		alive := own(t, other, "", "alive")
		time.Sleep(3 * time.Second)
		began := time.Now()
		k.Kill()
		w.Hub.LoseServer("s1", "route")
		wantEnd(t, other, lost, began, 700*time.Millisecond, 1200*time.Millisecond, registry.ReasonServerLost)
		wantAlive(t, time.Second, alive)
	})
}
