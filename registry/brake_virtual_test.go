package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// crowdOn starts a process with n sessions on a server.
func crowdOn(t *testing.T, w *world, server string, n int) (*registrytest.Process, []*registry.Registration) {
	t.Helper()
	p := w.Start(t, &registrytest.ProcessOptions{Server: server, Servers: 3})
	var regs []*registry.Registration
	for i := range n {
		regs = append(regs, own(t, p, registry.Service, fmt.Sprintf("%s-%d", server, i)))
	}
	return p, regs
}

// The brake: when more than 15 % of the sessions, and at least 20, are suspected within 5 s, verdicts for a lost server wait.
func TestVirtualBrake(t *testing.T) {
	for _, tt := range []struct {
		name        string
		lost, rest  int
		least, most time.Duration
	}{
		{"few", 19, 10, 700 * time.Millisecond, 750 * time.Millisecond},
		{"a small part", 25, 200, 700 * time.Millisecond, 750 * time.Millisecond},
		{"many", 25, 75, 4500 * time.Millisecond, 6500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p, regs := crowdOn(t, w, "s9", tt.lost)
				_, rest := crowdOn(t, w, "s8", tt.rest)
				settle()
				began := time.Now()
				p.Freeze() // it does not answer, but its subscriptions stand: this is about the server alone
				w.Hub.ReportLost("s9", "", "route")
				wantEnd(t, k, regs[0], began, tt.least, tt.most, registry.ReasonServerLost)
				wantAlive(t, time.Second, rest...)
			})
		})
	}
}

// A disconnect that the session's own server reports does not wait for the brake.
func TestVirtualBrakeNotForDisconnects(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p, regs := crowdOn(t, w, "s9", 60)
		_, rest := crowdOn(t, w, "s8", 40)
		settle()
		began := time.Now()
		p.KillFor("read error")
		wantEnd(t, k, regs[7], began, 30*time.Millisecond, 50*time.Millisecond, registry.ReasonDisconnected)
		wantAlive(t, time.Second, rest...)
	})
}

// However many are suspected and for however long, the brake is off after 30 s.
func TestVirtualBrakeEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p, regs := crowdOn(t, w, "s9", 25)
		_, rest := crowdOn(t, w, "s8", 40)
		settle()
		began := time.Now()
		p.Freeze()
		w.Hub.ReportLost("s9", "", "route")
		done := make(chan struct{})
		go func() { // others are suspected, and cleared, again and again
			defer close(done)
			for time.Since(began) < 40*time.Second {
				w.Hub.ReportLost("s8", "", "route")
				time.Sleep(time.Second)
			}
		}()
		got, ended := endOf(t, k, regs[0], began, time.Minute) // of silence too by then, which the brake holds back as well
		<-done
		if !ended || got.after < 29*time.Second || got.after > 33*time.Second {
			t.Fatalf("ended %v: %+v", ended, got)
		}
		t.Logf("%s: ended after %v", got.reason, got.after)
		wantAlive(t, time.Second, rest...)
	})
}
