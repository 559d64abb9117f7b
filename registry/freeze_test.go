package registry_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/registry"
)

// A frozen process, whose connections stay open, is gone after a TTL and no more than 2 s. When it thaws it does not believe that it still
// owns anything.
func TestFreezeProcess(t *testing.T) {
	const ttl = 5 * time.Second
	keepers := startKeepers(t, "freeze", ttl, func(int) []string { return nil })
	p, _ := startOwner(t, ownerArgs{URL: keepers[1].up.URL, Scope: "freeze", TTL: ttl, Role: registry.Never, Names: []string{"frozen"}})
	var downs []<-chan registry.Down
	var views []*registry.Registry
	for _, k := range keepers {
		views = append(views, observe(t, k.up.URL, "freeze", ttl, nil))
		downs = append(downs, monitorName(t, views[len(views)-1], "frozen"))
	}
	began := time.Now()
	p.Signal(syscall.SIGSTOP)
	took := allDown(t, downs, began, registry.ReasonSilent, registry.ReasonDisconnected)
	t.Logf("frozen: gone after %v (TTL %v)", took, ttl)
	if took > ttl+2*time.Second {
		t.Errorf("gone after %v; the bound is TTL + 2 s", took)
	}
	next, up := startOwner(t, ownerArgs{URL: keepers[2].up.URL, Scope: "freeze", TTL: ttl, Role: registry.Never, Names: []string{"frozen"}})
	_ = next
	p.Signal(syscall.SIGCONT)
	p.Send("again")
	var thawed keeperUp
	p.JSON(&thawed)
	if thawed.Serving {
		t.Error("the thawed process serves a name that another has")
	}
	for _, v := range views {
		if err := v.WaitFor(bustest.Context(t), up.Token); err != nil {
			t.Fatal(err)
		}
		if rec, err := v.Whereis("frozen"); err != nil || rec.Session != up.Session {
			t.Errorf("whereis: session %s, %v; want %s", rec.Session, err, up.Session)
		}
	}
}
