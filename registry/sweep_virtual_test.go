package registry_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// newest reads a key's newest entry from what was written, tombstones included.
func (w *world) newest(t *testing.T, key string) logged {
	t.Helper()
	all := w.written(key)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Key == key {
			return all[i]
		}
	}
	t.Fatalf("nothing was written to %s", key)
	return logged{}
}

// A lease in a process's own name that it does not know is removed by it, with what hangs on it: a creation whose answer was lost.
func TestVirtualStrayLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Strict, "calc")
		settle()
		id := reg.Session().ID()
		value := strings.ReplaceAll(string(w.lease(t, id).Value), id, "stray")
		if _, err := w.Log.Create(t.Context(), "leases.stray", []byte(value), 15*time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if e := w.newest(t, "leases.stray"); !e.Tombstone() {
			t.Fatal("the stray lease is still there")
		}
		wantAlive(t, 5*time.Second, reg)
	})
}

// A record in a session's name that the session does not want is removed by its owner, and not by anybody else.
func TestVirtualUnwantedRecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		time.Sleep(5300 * time.Millisecond) // not where a look at it is due anyway
		for _, kind := range []string{"names.late", "groups.tools.late"} {
			rec := fmt.Sprintf(`{"name":"late","group":"tools","instance":"late","session":%q,"v":1}`, reg.Session().ID())
			if _, err := w.Log.Create(t.Context(), kind, []byte(rec), 0); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		time.Sleep(time.Millisecond)
		if len(k.Names()) != 2 {
			t.Fatalf("%q", k.Names())
		}
		for len(k.Names()) != 1 || len(k.Groups()) != 0 {
			if time.Since(began) > 2*time.Second {
				t.Fatalf("%q %q", k.Names(), k.Groups())
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("gone after %v", time.Since(began))
		wantAlive(t, time.Second, reg)
	})
}

// The records of a dead session are swept, each guarded by its revision: one that a successor has claimed meanwhile stays, however late the sweep
// arrives. What cannot be read is left alone.
func TestVirtualSweep(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		other := own(t, w.Start(t, nil), registry.Service, "other")
		p := w.Start(t, &registrytest.ProcessOptions{Server: "s9", Servers: 3})
		own(t, p, registry.Service, "calc")
		second, err := p.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 { // more than one sweep takes
			if _, err := second.Join(t.Context(), "tools", &registry.JoinOptions{Instance: fmt.Sprintf("i%d", i)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Log.Create(t.Context(), "names.foreign", []byte("not ours"), 0); err != nil {
			t.Fatal(err)
		}
		settle()
		var late atomic.Int32
		k.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate {
			for _, op := range ops {
				if op.Key == "names.calc" && op.Delete {
					late.Add(1)
					return registrytest.Fate{Late: 3 * time.Second}
				}
			}
			return registrytest.Fate{}
		})
		p.KillFor("read error")
		for late.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		heir := own(t, w.Start(t, nil), registry.Service, "calc")
		time.Sleep(20 * time.Second)
		wantAlive(t, time.Second, heir, other)
		if e := w.newest(t, "names.calc"); e.Tombstone() || e.Revision != heir.Token() {
			t.Fatalf("the successor's record: %+v", e)
		}
		if e := w.newest(t, "names.foreign"); e.Tombstone() {
			t.Fatal("what cannot be read was swept")
		}
		left, _, err := w.Log.List(t.Context(), "groups.")
		if err != nil || len(left) != 0 {
			t.Fatalf("%d orphans are left (%v)", len(left), err)
		}
	})
}

// They are swept also where it was the last session of the scope that died: there is no pulse then, and a keeper all the same.
func TestVirtualSweepOfTheLast(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, &registrytest.ProcessOptions{Servers: 3})
		own(t, p, registry.Service, "calc")
		settle()
		p.KillFor("read error")
		time.Sleep(20 * time.Second)
		if e := w.newest(t, "names.calc"); !e.Tombstone() {
			t.Fatal("the record of the last session is still there")
		}
	})
}
