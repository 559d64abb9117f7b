package registry_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/registry"
)

// On a stock nats-server nobody sees events. A lone process that was killed and is started again has its name back by itself within 5 s.
func TestPlainRestartGetsItsNameBack(t *testing.T) {
	srv := bustest.Plain(t)
	args := ownerArgs{URL: srv.ClientURL(), Scope: "lone", TTL: registry.DefaultTTL, Names: []string{"only"}}
	first, before := startOwner(t, args)
	keptBy(t, observe(t, srv.ClientURL(), "lone", registry.DefaultTTL, nil)) // so that there is a pulse to be taken over
	if err := syscall.Kill(first.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, after := startOwner(t, args)
	took := time.Since(began)
	t.Logf("killed and started again: it has its name after %v", took)
	if took > 5*time.Second {
		t.Errorf("it took %v; 5 s is the bound", took)
	}
	if after.Session == before.Session || after.Token <= before.Token {
		t.Errorf("session %s token %d after session %s token %d", after.Session, after.Token, before.Session, before.Token)
	}
}

// With another long-lived process there, a killed one is gone within 3 s.
func TestPlainKillIsSeen(t *testing.T) {
	srv := bustest.Plain(t)
	_, _ = startOwner(t, ownerArgs{URL: srv.ClientURL(), Scope: "pair", TTL: registry.DefaultTTL, Names: []string{"stays"}})
	p, _ := startOwner(t, ownerArgs{URL: srv.ClientURL(), Scope: "pair", TTL: registry.DefaultTTL, Names: []string{"goes"}})
	view := observe(t, srv.ClientURL(), "pair", registry.DefaultTTL, nil)
	down := monitorName(t, view, "goes")
	began := time.Now()
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	took := allDown(t, []<-chan registry.Down{down}, began, registry.ReasonNoResponders)
	t.Logf("killed on a plain server: gone after %v", took)
	if took > 3*time.Second {
		t.Errorf("it took %v; 3 s is the bound", took)
	}
	if _, err := view.Whereis("stays"); err != nil {
		t.Errorf("the living one: %v", err)
	}
}
