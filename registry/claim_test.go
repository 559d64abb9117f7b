package registry_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/registry"
)

// Two hundred sessions on three nodes claim one name at once: one has it, the others learn who. The same again when the owner was killed.
func TestClaimByMany(t *testing.T) {
	const claimants = 200
	keepers := startKeepers(t, "claims", killTTL, func(int) []string { return nil })
	victim, owned := startOwner(t, ownerArgs{URL: keepers[0].up.URL, Scope: "claims", TTL: killTTL, Role: registry.Never, Names: []string{"again"}})
	var sessions []*registry.Session
	for _, k := range keepers {
		reg := observe(t, k.up.URL, "claims", killTTL, nil)
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range (claimants + 2) / 3 {
			wg.Go(func() {
				s, err := reg.NewSession(bustest.Context(t), nil)
				if err != nil {
					t.Errorf("new session: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				sessions = append(sessions, s)
			})
		}
		wg.Wait()
	}
	if t.Failed() {
		return
	}
	sessions = sessions[:claimants]
	claimAll(t, sessions, "fresh")
	down := monitorName(t, observe(t, keepers[1].up.URL, "claims", killTTL, nil), "again")
	victim.Kill()
	allDown(t, []<-chan registry.Down{down}, time.Now())
	if token := claimAll(t, sessions, "again").Token(); token <= owned.Token {
		t.Errorf("the token fell from %d to %d", owned.Token, token)
	}
}

// claimAll has every session claim name and returns the only winner.
func claimAll(t *testing.T, sessions []*registry.Session, name string) *registry.Registration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Deadline)
	defer cancel()
	var mu sync.Mutex
	var winners []*registry.Registration
	owners := map[string]int{}
	var wg sync.WaitGroup
	began := time.Now()
	for _, s := range sessions {
		wg.Go(func() {
			reg, err := s.Register(ctx, name, nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				winners = append(winners, reg)
			} else if taken, ok := errors.AsType[*registry.NameTakenError](err); ok {
				owners[taken.Owner.Session]++
			} else {
				t.Errorf("register: %v", err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d claimed %q in %v", len(sessions), name, time.Since(began))
	if len(winners) != 1 || len(owners) != 1 || owners[winners[0].Session().ID()] != len(sessions)-1 {
		t.Fatalf("%d winners; the losers were told %v", len(winners), owners)
	}
	return winners[0]
}
