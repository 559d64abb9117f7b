package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// deaf loses the answers of a process to the roll call, and nothing else.
func deaf(who *registrytest.Process) func(from, to *registrytest.Peer, subject string) bool {
	return func(from, _ *registrytest.Peer, subject string) bool { return from != who.Peer || !toKeeper(subject) }
}

// Everybody answers; each pulse reports the roll call of the one before. Nobody has to write his lease again for it.
func TestVirtualRollCall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		var regs []*registry.Registration
		for i := range 30 {
			p := w.Start(t, nil)
			regs = append(regs, own(t, p, []registry.Mode{registry.Service, registry.Strict}[i%2], fmt.Sprintf("n%d", i)))
		}
		settle()
		since, leases := time.Now(), len(w.written("leases."))
		wantAlive(t, time.Minute, regs...)
		last := w.lastPulse(t).revision
		pulses := w.pulses(t, since)
		for i, b := range pulses {
			if b.Extra || len(b.Missing)+len(b.Suspects)+len(b.Ended) > 0 || b.Leases != 30 || b.Answered != 30 {
				t.Fatalf("%+v", b)
			}
			if i > 0 && b.Roll != pulses[i-1].revision {
				t.Fatalf("pulse %d reports the roll call of %d, the one before is %d", b.revision, b.Roll, pulses[i-1].revision)
			}
		}
		if n := len(w.written("leases.")) - leases; n != 0 {
			t.Errorf("%d leases were written in a minute of peace", n)
		}
		t.Logf("a minute of 30 sessions: %d pulses up to %d and nothing else", len(pulses), last)
	})
}

// Whose answers are lost is listed, every time; it refreshes its lease, which is no answer, and is never ended, and serves all the while.
func TestVirtualLostAnswers(t *testing.T) {
	for _, mode := range []registry.Mode{registry.Service, registry.Strict} {
		t.Run(string(mode), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, nil)
				reg := own(t, p, mode, "calc")
				other := own(t, w.Start(t, nil), mode, "other")
				settle()
				w.Hub.Filter(deaf(p))
				time.Sleep(2 * time.Second)
				since := time.Now()
				wantAlive(t, 2*time.Minute, reg, other)
				for _, b := range w.pulses(t, since) {
					if !b.Extra && !slices.Equal(b.Missing, []string{reg.Session().ID()}) {
						t.Fatalf("missing %q in %+v", b.Missing, b)
					}
				}
				if n := len(w.written("leases." + reg.Session().ID())); n < 100 {
					t.Errorf("refreshed %d times in 120 pulses that list it", n)
				}
				if n := len(w.written("leases." + other.Session().ID())); n > 2 {
					t.Errorf("the other one wrote its lease %d times", n)
				}
			})
		})
	}
}

// More than 500 that are missing are not listed by name: nobody's validity grows by such a pulse, and everybody answers it. Nobody is ended.
func TestVirtualTooManyToList(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p, q := w.Start(t, nil), w.Start(t, nil)
		var regs []*registry.Registration
		for i := range 501 {
			regs = append(regs, own(t, p, "", fmt.Sprintf("n%d", i)))
		}
		bystander := own(t, q, "", "bystander")
		settle()
		w.Hub.Filter(deaf(p))
		time.Sleep(1500 * time.Millisecond)
		since := time.Now()
		wantAlive(t, 10*time.Second, append(regs, bystander)...)
		all := 0
		for _, b := range w.pulses(t, since) {
			if len(b.Missing) > 0 {
				t.Fatalf("%d are listed", len(b.Missing))
			}
			if b.All {
				all++
			}
		}
		if all < 5 {
			t.Fatalf("%d pulses say all", all)
		}
		if n := len(w.written("leases." + bystander.Session().ID())); n < 3 {
			t.Errorf("the bystander wrote its lease %d times: its validity grew by pulses that listed it", n)
		}
	})
}

// A lease that the keeper first sees refreshed, in a snapshot, may have been there at the last roll call: it is no newcomer that nobody has called.
func TestVirtualFirstSeenRefreshed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		own(t, k, "", "other")
		p := w.Start(t, nil)
		settle()
		w.Hub.Filter(deaf(p))
		last := w.lastPulse(t)
		time.Sleep(time.Until(last.at.Add(time.Second - 50*time.Millisecond)))
		k.Store.DelayFeed(600 * time.Millisecond)
		s, err := p.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the roll is called
		call := w.lastPulse(t)
		created := w.lease(t, s.ID()).Revision
		p.Peer.Suspend(false)
		p.Peer.Suspend(true)
		time.Sleep(20 * time.Millisecond)
		if refreshed := w.lease(t, s.ID()).Revision; created > call.revision || refreshed < call.revision {
			t.Fatalf("created at %d, called at %d, refreshed at %d", created, call.revision, refreshed)
		}
		k.Store.Gap()
		k.Store.DelayFeed(0)
		time.Sleep(time.Until(call.at.Add(time.Second + 20*time.Millisecond)))
		if b := w.lastPulse(t); b.Roll != call.revision || !slices.Contains(b.Missing, s.ID()) {
			t.Fatalf("it reports the roll call of %d (%d) and misses %q", b.Roll, call.revision, b.Missing)
		}
	})
}

// A pulse that reports no roll call, or another one, confirms nobody: with its answers lost and its lease out of reach, a session's validity ends
// nine tenths of a TTL after the last answer that was heard, though a new keeper's pulses do not list it.
func TestVirtualOnlyTheReportedRollCounts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, &registrytest.ProcessOptions{Role: registry.Never, Server: "s9"})
		reg := own(t, p, registry.Strict, "calc")
		settle()
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: "s2"})
		heard := w.lastPulse(t).at.Add(400 * time.Millisecond) // it is answered by then
		time.Sleep(time.Until(heard))
		last := watchValidity(t, reg)
		w.Hub.Filter(deaf(p))
		p.Store.OnWrite(func([]kvstore.Op) registrytest.Fate { return registrytest.Fate{Err: kvstore.ErrUnavailable} })
		time.Sleep(1100 * time.Millisecond) // one more roll call, answered in vain
		k.Kill()
		time.Sleep(8 * time.Second)
		served := last().Sub(heard)
		if t.Logf("it served for %v after its last answer was heard", served); served > virtualTTL*9/10 || served < 4*time.Second {
			t.Fatalf("it served for %v", served)
		}
	})
}
