package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// verdictsIn lists the sessions that a write would end by the keeper's word.
func verdictsIn(ops []kvstore.Op) (ended []string) {
	if len(ops) > 1 && ops[0].Key == "pulse" {
		for _, op := range ops[1:] {
			if session, ok := strings.CutPrefix(op.Key, "leases."); ok && op.Delete {
				ended = append(ended, session)
			}
		}
	}
	return ended
}

// rewrite writes a lease again as it is, as its owner's refresh would.
func (w *world) rewrite(t *testing.T, session string) {
	t.Helper()
	e := w.lease(t, session)
	if _, err := w.Log.Update(t.Context(), e.Key, e.Value, e.Revision, 15*time.Minute); err != nil {
		t.Error(err)
	}
}

// A refused batch is followed at once by a bare pulse, and its verdicts are tried again one by one: a refresh that came in between saves
// its own session alone.
func TestVirtualRefusedBatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
		var regs []*registry.Registration
		for i := range 5 {
			regs = append(regs, own(t, p, registry.Service, fmt.Sprintf("n%d", i)))
		}
		saved := regs[2].Session().ID()
		settle()
		var batches atomic.Int32
		k.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate {
			if ended := verdictsIn(ops); slices.Contains(ended, saved) && batches.Add(1) == 1 {
				w.rewrite(t, saved)
			}
			return registrytest.Fate{}
		})
		began := time.Now()
		p.Freeze() // so that nobody else refreshes or answers
		server, client, _ := p.Peer.Link()
		w.Hub.ReportLost(server, client, "read error")
		time.Sleep(200 * time.Millisecond)
		pulses := w.pulses(t, began.Add(time.Nanosecond))
		if len(pulses) < 6 {
			t.Fatalf("%+v", pulses)
		}
		if len(pulses[0].Suspects) != 5 || len(pulses[1].Ended) != 0 || pulses[1].at != pulses[2].at {
			t.Fatalf("listing, bare pulse, verdicts: %+v", pulses)
		}
		ended := 0
		for _, b := range pulses[2:] {
			if len(b.Ended) > 1 || b.Ended[saved] != "" {
				t.Fatalf("%+v", b)
			}
			ended += len(b.Ended)
		}
		if ended != 4 || len(k.Leases()) != 1 || k.Leases()[0].Session != saved {
			t.Fatalf("%d ended, left %+v", ended, k.Leases())
		}
		p.Thaw()
		wantAlive(t, time.Second, regs[2])
	})
}

// A verdict on evidence is guarded by the lease's revision at the pulse that listed the session: a refresh since refuses it, seen by the keeper or not.
func TestVirtualVerdictGuarded(t *testing.T) {
	for _, unseen := range []bool{false, true} {
		t.Run(fmt.Sprintf("unseen %v", unseen), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
				reg := own(t, p, registry.Service, "calc")
				settle()
				id := reg.Session().ID()
				p.Freeze()
				server, client, _ := p.Peer.Link()
				w.Hub.ReportLost(server, client, "read error")
				time.Sleep(10 * time.Millisecond)
				if b := w.lastPulse(t); !slices.Contains(b.Suspects, id) {
					t.Fatalf("not listed: %+v", b)
				}
				if unseen {
					k.Store.DelayFeed(40 * time.Millisecond)
				}
				w.rewrite(t, id)
				time.Sleep(300 * time.Millisecond)
				k.Store.DelayFeed(0)
				if _, there := k.Lease(id); !there {
					t.Fatal("ended although its lease was refreshed after it was listed")
				}
				p.Thaw()
				wantAlive(t, 10*time.Second, reg)
			})
		})
	}
}

// Who has lost the pulse cannot end anybody, however late his write arrives.
func TestVirtualLateVerdict(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
		reg := own(t, p, registry.Service, "calc")
		settle()
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: "s2"})
		var late atomic.Int32
		k.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate {
			if len(verdictsIn(ops)) > 0 {
				late.Add(1)
				return registrytest.Fate{Late: 5 * time.Second}
			}
			return registrytest.Fate{}
		})
		p.Peer.Freeze()
		p.Store.Freeze()
		server, client, _ := p.Peer.Link()
		w.Hub.ReportLost(server, client, "read error")
		time.Sleep(35 * time.Millisecond)
		if late.Load() == 0 {
			t.Fatal("no verdict")
		}
		k.Kill() // the verdict is on its way
		p.Thaw()
		time.Sleep(30 * time.Millisecond)
		wantAlive(t, 15*time.Second, reg)
	})
}

// Grace runs only while pulses are acknowledged: while the log takes none, nobody can refresh either.
func TestVirtualGraceNeedsPulses(t *testing.T) {
	for _, tt := range []struct {
		name string
		fate registrytest.Fate
	}{
		{"refused", registrytest.Fate{Err: kvstore.ErrUnavailable}},
		{"unanswered", registrytest.Fate{Hang: true}},
		{"slow", registrytest.Fate{Delay: 1900 * time.Millisecond}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
				reg := own(t, p, registry.Service, "calc")
				time.Sleep(5200 * time.Millisecond)
				for w.lastPulse(t).at.Add(900 * time.Millisecond).After(time.Now()) { // just before the next one
					time.Sleep(10 * time.Millisecond)
				}
				p.Freeze()
				server, client, _ := p.Peer.Link()
				w.Hub.ReportLost(server, client, "stale") // two seconds of grace
				time.Sleep(10 * time.Millisecond)
				if b := w.lastPulse(t); len(b.Suspects) != 1 {
					t.Fatalf("not listed: %+v", b)
				}
				listed := time.Now()
				var writes atomic.Int32
				k.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate {
					if tt.name == "slow" && writes.Add(1) > 1 {
						return registrytest.Fate{}
					}
					return tt.fate
				})
				time.Sleep(2100 * time.Millisecond)
				k.Store.OnWrite(nil)
				healed := time.Now()
				got, ended := endOf(t, k, reg, listed, 20*time.Second)
				if since := listed.Add(got.after).Sub(healed); !ended || since < 1500*time.Millisecond {
					t.Fatalf("ended %v: %v after pulses were acknowledged again, of 2 s of grace", ended, since)
				} else {
					t.Logf("ended %v after pulses were acknowledged again", since)
				}
			})
		})
	}
}

// The keeper's own pulse that was written but not acknowledged is its own all the same: it keeps the scope.
func TestVirtualUnheardPulses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		for range 3 {
			w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		}
		reg := own(t, w.Start(t, nil), registry.Service, "calc")
		settle()
		keeper := w.lastPulse(t).Keeper
		n := 0
		_ = k
		for _, p := range []*registrytest.Process{k} {
			p.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate {
				n++
				return registrytest.Fate{Unheard: n%3 == 0}
			})
		}
		wantAlive(t, 30*time.Second, reg)
		for _, b := range w.pulses(t, time.Now().Add(-20*time.Second)) {
			if b.Keeper != keeper {
				t.Fatalf("the keeper changed: %+v", b)
			}
		}
	})
}
