package registry_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// The keeper is killed and frozen, again and again, while names come and go: another takes over, and no living session loses its lease.
func TestKillKeeper(t *testing.T) {
	const scope, sessions, rounds = "keepers", 50, 10
	cluster := bustest.Cluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*bustest.Deadline)
	defer cancel()
	store, err := kvstore.OpenJetStream(ctx, bustest.Dial(t, cluster.URL(), nil).NATS(), scope, &kvstore.JetStreamOptions{
		Metadata: map[string]string{registry.MetadataTTL: "4s", registry.MetadataPulse: "250ms"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	var open []*registry.Session
	var views []*registry.Registry
	for _, n := range cluster.Nodes() {
		views = append(views, observe(t, n.URL(), scope, 0, nil))
	}
	for i := range sessions {
		s, err := views[i%3].NewSession(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	loadCtx, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	names := 0
	load.Go(func() {
		for ; loadCtx.Err() == nil; names++ {
			reg, err := open[names%sessions].Register(loadCtx, fmt.Sprintf("n-%d", names), nil)
			if err == nil {
				err = reg.Unregister(loadCtx)
			}
			if err != nil && loadCtx.Err() == nil {
				t.Errorf("name %d: %v", names, err)
				return
			}
		}
	})
	candidates := map[string]*bustest.Process{}
	started := 0
	start := func() {
		started++
		node := fmt.Sprintf("keeper-%d", started)
		candidates[node], _ = startOwner(t, ownerArgs{URL: cluster.Node(started % 3).URL(), Scope: scope, Node: node})
	}
	start()
	start()
	for round := range 2 * rounds {
		kept := keptBy(t, views[0])
		p := candidates[kept]
		if p == nil {
			t.Fatalf("round %d: %q keeps the scope", round, kept)
		}
		frozen := round%2 == 1
		began := time.Now()
		if frozen {
			p.Signal(syscall.SIGSTOP)
		} else {
			p.Kill()
			delete(candidates, kept)
			start()
		}
		bustest.Eventually(t, "another keeps the scope", func() bool {
			k, ok := views[0].Keeper()
			return ok && k.Node != kept
		})
		t.Logf("round %d: frozen %v, kept by another after %v", round, frozen, time.Since(began))
		if frozen {
			p.Signal(syscall.SIGCONT)
		}
	}
	stop()
	load.Wait()
	t.Logf("%d names came and went", names)
	for i, s := range open {
		if err := s.Err(); err != nil {
			t.Errorf("session %d: %v", i, err)
		} else if _, ok := views[(i+1)%3].Lease(s.ID()); !ok {
			t.Errorf("session %d: its lease is gone", i)
		}
	}
	bustest.Eventually(t, "all sessions are valid", func() bool {
		for _, s := range open {
			if !s.Valid() {
				return false
			}
		}
		return true
	})
}
