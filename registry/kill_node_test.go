package registry_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// What dies with its node is gone on the others: within 2 s where that node neither led the bucket nor kept the pulse, within 4 s where it did. Who
// was only connected through it moves to another, and keeps its session, its name and its token.
func TestKillNode(t *testing.T) {
	for _, role := range []string{"bystander", "keeper", "leader"} {
		t.Run(role, func(t *testing.T) {
			scope := "node-" + role
			keepers := startKeepers(t, scope, killTTL, func(i int) []string { return []string{fmt.Sprintf("on-n%d", i+1)} })
			conn := bustest.Dial(t, keepers[0].up.URL, nil)
			store, err := kvstore.OpenJetStream(t.Context(), conn.NATS(), scope, nil)
			if err != nil {
				t.Fatal(err)
			}
			info, err := store.Info(bustest.Context(t))
			if err != nil {
				t.Fatal(err)
			}
			kept := keptBy(t, observe(t, keepers[0].up.URL, scope, killTTL, nil))
			victim := keepers[pickVictim(t, keepers, role, info.Leader, kept)]
			t.Logf("leader %s, keeper %s, victim %s", info.Leader, kept, victim.up.Name)

			rover, before := startOwner(t, ownerArgs{URL: victim.up.URL, Scope: scope, TTL: killTTL, Role: registry.Never, Names: []string{"rover"}})
			if before.Server != victim.up.ID {
				t.Fatalf("the rover is on %s, not on the victim", before.Server)
			}
			var views []*registry.Registry
			var downs []<-chan registry.Down
			for _, k := range keepers {
				if k != victim {
					v := observe(t, k.up.URL, scope, killTTL, nil)
					monitorName(t, v, "rover")
					views, downs = append(views, v), append(downs, monitorName(t, v, "on-"+victim.up.Name))
				}
			}
			began := time.Now()
			if err := syscall.Kill(victim.PID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			took := allDown(t, downs, began, registry.ReasonServerLost, registry.ReasonDisconnected, registry.ReasonNoResponders)
			bound := 4 * time.Second
			if victim.up.Name != info.Leader && victim.up.Name != kept {
				bound = 2 * time.Second
			}
			t.Logf("%s killed: what lived on it is gone after %v (bound %v)", role, took, bound)
			if took > bound {
				t.Errorf("gone after %v; %v is the bound", took, bound)
			}
			bustest.Eventually(t, "the rover serves again on another server", func() bool {
				rover.Send("again")
				var now keeperUp
				rover.JSON(&now)
				if now.Session != before.Session || now.Token != before.Token {
					t.Fatalf("the rover has session %s and token %d; it had %s and %d", now.Session, now.Token, before.Session, before.Token)
				}
				return now.Serving && now.Server != victim.up.ID
			})
			t.Logf("the rover serves again after %v", time.Since(began))
			for _, v := range views {
				rec, err := v.Whereis("rover")
				if err != nil || rec.Token != before.Token {
					t.Errorf("whereis rover: token %d, %v; want token %d", rec.Token, err, before.Token)
				}
				for _, k := range keepers {
					if _, err := v.Whereis("on-" + k.up.Name); (err == nil) == (k == victim) {
						t.Errorf("whereis on-%s: %v", k.up.Name, err)
					}
				}
			}
		})
	}
}

// keptBy says which node keeps the scope.
func keptBy(t *testing.T, view *registry.Registry) (node string) {
	t.Helper()
	bustest.Eventually(t, "somebody keeps the scope", func() bool {
		k, ok := view.Keeper()
		node = k.Node
		return ok
	})
	return node
}

// pickVictim picks a node for a role.
func pickVictim(t *testing.T, keepers []*keeper, role, leader, keeper string) int {
	t.Helper()
	for i, k := range keepers {
		name := k.up.Name
		switch {
		case role == "leader" && name == leader, role == "keeper" && name == keeper, role == "bystander" && name != leader && name != keeper:
			return i
		}
	}
	t.Fatalf("no node is the %s", role)
	return 0
}
