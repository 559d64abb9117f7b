package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// claimFor claims a name on a new session of p and says how long it took.
func claimFor(t *testing.T, p *registrytest.Process, name string, d time.Duration) (took time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	began := time.Now()
	s, err := p.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Register(ctx, name, nil)
	return time.Since(began), err
}

// The only process of a scope on a plain NATS, killed and started again, has its name back by itself within five seconds.
func TestVirtualLoneRestart(t *testing.T) {
	var worst time.Duration
	for phase := range 20 {
		inWorld(t, func(t *testing.T, w *world) {
			p := w.Start(t, nil)
			own(t, p, registry.Service, "calc")
			time.Sleep(5*time.Second + time.Duration(phase)*50*time.Millisecond)
			p.Kill()
			time.Sleep(time.Duration(phase) * 10 * time.Millisecond)
			took, err := claimFor(t, w.Start(t, nil), "calc", 30*time.Second)
			if worst = max(worst, took); err != nil || took > 5*time.Second {
				t.Fatalf("after %v: %v", took, err)
			}
		})
	}
	t.Logf("it has its name again after %v at the worst", worst)
}

// A claim of a name whose holder does not answer waits for the verdict: the holder is ended for silence, and the claim succeeds.
func TestVirtualRegisterWaits(t *testing.T) {
	for _, mode := range []registry.Mode{registry.Service, registry.Strict} {
		t.Run(string(mode), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, &registrytest.ProcessOptions{Server: "s9"})
				old := own(t, p, mode, "calc")
				settle()
				last := watchValidity(t, old)
				began := time.Now()
				p.Freeze()
				took, err := claimFor(t, w.Start(t, nil), "calc", 30*time.Second)
				if err != nil || took > virtualTTL+3*time.Second {
					t.Fatalf("after %v: %v", took, err)
				}
				served := last().Sub(began)
				if t.Logf("claimed after %v; the old owner served for %v", took, served); served >= took {
					t.Fatalf("the old owner served for %v", served)
				}
			})
		})
	}
}

// Who claims the name of a dead process tells the keeper, which need not find out by the next roll call.
func TestVirtualReported(t *testing.T) {
	for phase := range 5 {
		inWorld(t, func(t *testing.T, w *world) {
			w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
			p := w.Start(t, nil)
			own(t, p, registry.Service, "calc")
			next := w.Start(t, nil)
			time.Sleep(5*time.Second + time.Duration(phase)*200*time.Millisecond)
			p.Kill()
			took, err := claimFor(t, next, "calc", 30*time.Second)
			if err != nil || took > 800*time.Millisecond {
				t.Fatalf("after %v: %v", took, err)
			}
			t.Logf("claimed after %v", took)
		})
	}
}

// A holder that nobody can probe but that answers the roll call keeps its name; who claims it is told so after a time.
func TestVirtualRegisterUnprobed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		settle()
		probe := "." + reg.Session().ID()
		w.Hub.Filter(func(_, _ *registrytest.Peer, subject string) bool { return !strings.HasSuffix(subject, probe) })
		took, err := claimFor(t, w.Start(t, nil), "calc", time.Minute)
		if !errors.Is(err, registry.ErrNameTaken) || took > virtualTTL+5*time.Second {
			t.Fatalf("after %v: %v", took, err)
		}
		t.Logf("told after %v", took)
		took, err = claimFor(t, w.Start(t, nil), "calc", 2*time.Second)
		if !errors.Is(err, registry.ErrNameTaken) || took > 2*time.Second {
			t.Fatalf("with two seconds, after %v: %v", took, err)
		}
		wantAlive(t, 5*time.Second, reg)
	})
}

// A holder that answers is not disturbed and the loser is told at once.
func TestVirtualRegisterTaken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		reg := own(t, w.Start(t, nil), registry.Service, "calc")
		settle()
		took, err := claimFor(t, w.Start(t, nil), "calc", time.Minute)
		taken, is := errors.AsType[*registry.NameTakenError](err)
		if !is || taken.Owner.Session != reg.Session().ID() || took > 20*time.Millisecond {
			t.Fatalf("after %v: %v", took, err)
		}
		t.Logf("told after %v: %v", took, err)
		wantAlive(t, time.Second, reg)
	})
}

// A holder of this very process that gave up without being able to say so.
func TestVirtualCloseInVain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		settle()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if err := reg.Session().Close(gone); err == nil {
			t.Fatal("closed without a context")
		}
		wantEnd(t, k, reg, began, 0, virtualTTL+2*time.Second, registry.ReasonNoResponders)
		took, err := claimFor(t, p, "calc", 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("claimed again after %v", took)
	})
}
