package registry_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// A claimant whose machine slept through the time of its claim does not use the member on waking, before anything has told it so: somebody else may
// have claimed it meanwhile.
func TestClaimIsOverForWhoSlept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		owner, claimant := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node}), w.Start(t, &registrytest.ProcessOptions{Server: "s2"})
		member, err := owner.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := member.Join(t.Context(), "tools", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s, err := claimant.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Claim(t.Context(), "tools", &registry.ClaimOptions{TTL: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		claimant.Clock.Sleep(2 * time.Second)
		if !c.Valid() {
			t.Error("its time is not over yet")
		}
		claimant.Clock.Sleep(1500 * time.Millisecond)
		if c.Valid() || !s.Valid() {
			t.Errorf("after its time: claim valid %v, session valid %v", c.Valid(), s.Valid())
		}
	})
}

// A claimant that is frozen is ended by the log's own clock, and another has the member then; the frozen one does not believe in it any more.
func TestClaimOfAFrozenProcessEndsByItsTTL(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		owner := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		frozen := w.Start(t, &registrytest.ProcessOptions{Server: "s2"})
		member, err := owner.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := member.Join(t.Context(), "tools", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s, err := frozen.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Claim(t.Context(), "tools", &registry.ClaimOptions{TTL: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		frozen.Freeze()
		next, err := member.Claim(t.Context(), "tools", &registry.ClaimOptions{Wait: true})
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 2*time.Second || d > 5*time.Second || c.Valid() || !next.Valid() {
			t.Errorf("the next claim after %v; the old one valid %v, the new one %v", d, c.Valid(), next.Valid())
		}
		frozen.Thaw()
		synctest.Wait()
		if !errors.Is(c.Err(), registry.ErrClaimEnded) || next.Err() != nil {
			t.Errorf("after the thaw: %v, %v", c.Err(), next.Err())
		}
	})
}
