package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// What evidence of death there is, and how long a session then has.
func TestVirtualEvidence(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name        string
		servers     int
		end         func(w *world, p *registrytest.Process)
		least, most time.Duration
		reason      registry.Reason
	}{
		{"killed, several servers", 3, func(_ *world, p *registrytest.Process) { p.KillFor("read error") }, 30 * ms, 40 * ms, registry.ReasonDisconnected},
		{"closed by the client", 3, func(_ *world, p *registrytest.Process) { p.KillFor("closed") }, 30 * ms, 40 * ms, registry.ReasonDisconnected},
		{"killed, one server", 1, func(_ *world, p *registrytest.Process) { p.KillFor("read error") }, 250 * ms, 260 * ms, registry.ReasonDisconnected},
		{"kicked", 3, func(_ *world, p *registrytest.Process) { p.KillFor("kicked") }, 2000 * ms, 2010 * ms, registry.ReasonDisconnected},
		{"stale", 1, func(_ *world, p *registrytest.Process) { p.KillFor("stale") }, 2000 * ms, 2010 * ms, registry.ReasonDisconnected},
		{"its server lost", 1, func(w *world, p *registrytest.Process) { p.Kill(); w.Hub.LoseServer("s9", "shutdown") }, 700 * ms, 710 * ms, registry.ReasonServerLost},
		{"nobody tells", 1, func(_ *world, p *registrytest.Process) { p.Kill() }, 1000 * ms, 3000 * ms, registry.ReasonNoResponders},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for phase := range 5 {
				inWorld(t, func(t *testing.T, w *world) {
					k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
					p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: tt.servers})
					other := own(t, k, "", "other")
					reg := own(t, p, registry.Service, "calc")
					time.Sleep(5*time.Second + time.Duration(phase)*200*ms)
					began := time.Now()
					tt.end(w, p)
					wantEnd(t, k, reg, began, tt.least, tt.most, tt.reason)
					wantAlive(t, time.Second, other)
				})
			}
		})
	}
}

// A strict session is ended by silence alone, whatever speaks against it.
func TestVirtualStrictBySilenceAlone(t *testing.T) {
	for _, reason := range []string{"read error", "kicked", ""} {
		t.Run(reason, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
				reg := own(t, p, registry.Strict, "lock")
				settle()
				began := time.Now()
				p.KillFor(reason)
				w.Hub.LoseServer("s9", reason)
				wantEnd(t, k, reg, began, virtualTTL-time.Second, virtualTTL+2*time.Second, registry.ReasonSilent)
			})
		})
	}
}

// Who is back in time keeps session and token: on the same server or another, after a cut or with its server lost.
func TestVirtualBackInTime(t *testing.T) {
	for _, tt := range []struct {
		name    string
		servers int
		reason  string
		away    time.Duration
		lost    bool
	}{
		{"a cut, several servers", 3, "read error", 20 * time.Millisecond, false},
		{"a cut, one server", 1, "read error", 200 * time.Millisecond, false},
		{"kicked", 3, "kicked", 1500 * time.Millisecond, false},
		{"its server lost", 3, "shutdown", 500 * time.Millisecond, true},
		{"nobody tells", 3, "", 900 * time.Millisecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: tt.servers})
				reg := own(t, p, registry.Service, "calc")
				settle()
				token := reg.Token()
				if tt.lost {
					p.Store.Cut()
					w.Hub.LoseServer("s9", tt.reason)
				} else {
					p.Cut(tt.reason)
				}
				time.Sleep(tt.away)
				if reg.Serving() {
					t.Fatal("it serves while it is cut off")
				}
				began := time.Now()
				p.Reconnect("s8")
				for !reg.Serving() {
					if time.Since(began) > time.Second || reg.Err() != nil {
						t.Fatalf("back for %v: %v", time.Since(began), reg.Err())
					}
					time.Sleep(time.Millisecond)
				}
				t.Logf("serves %v after it was back", time.Since(began))
				wantAlive(t, 10*time.Second, reg)
				if reg.Token() != token {
					t.Fatalf("token %d, then %d", token, reg.Token())
				}
			})
		})
	}
}

// A lost event, or a wrong one, ends nobody who lives, and raises one question, not a storm of them.
func TestVirtualWrongEvidence(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report func(w *world, p *registrytest.Process)
	}{
		{"of a connection", func(w *world, p *registrytest.Process) {
			server, client, _ := p.Peer.Link()
			w.Hub.ReportLost(server, client, "read error")
		}},
		{"of a server", func(w *world, p *registrytest.Process) {
			server, _, _ := p.Peer.Link()
			w.Hub.ReportLost(server, "", "route")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
				var regs []*registry.Registration
				for i := range 5 {
					regs = append(regs, own(t, p, "", fmt.Sprintf("n%d", i)))
				}
				settle()
				since := time.Now()
				tt.report(w, p)
				wantAlive(t, 20*time.Second, regs...)
				extra := 0
				for _, b := range w.pulses(t, since) {
					if b.Extra {
						extra++
					}
				}
				if t.Logf("%d extra pulses", extra); extra < 1 || extra > 3 {
					t.Errorf("%d extra pulses for one report", extra)
				}
			})
		})
	}
}

// Two nodes that lost each other for a moment and have each other again agree on a keeper soon.
func TestVirtualRoutesFlap(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var regs []*registry.Registration
		for i := range 3 {
			p := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node, Server: fmt.Sprintf("s%d", i)})
			regs = append(regs, own(t, p, "", fmt.Sprintf("n%d", i)))
		}
		settle()
		since := time.Now()
		for i := range 3 {
			w.Hub.ReportLost(fmt.Sprintf("s%d", i), "", "route")
		}
		wantAlive(t, 20*time.Second, regs...)
		changes, keeper := 0, ""
		pulses := w.pulses(t, since)
		for _, b := range pulses {
			if b.Keeper != keeper {
				keeper = b.Keeper
				changes++
			}
		}
		if t.Logf("%d keepers, %d pulses in 20 s", changes, len(pulses)); changes > 8 || len(pulses) > 45 {
			t.Errorf("%d keepers and %d pulses in 20 s", changes, len(pulses))
		}
	})
}

// A suspect that answers the pulse that lists it is cleared by that alone, if it cannot write its lease.
func TestVirtualAnswerClears(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
		reg := own(t, p, registry.Service, "calc")
		settle()
		p.Store.OnWrite(func([]kvstore.Op) registrytest.Fate { return registrytest.Fate{Err: kvstore.ErrUnavailable} })
		server, client, _ := p.Peer.Link()
		w.Hub.ReportLost(server, client, "read error")
		wantAlive(t, 20*time.Second, reg)
	})
}
