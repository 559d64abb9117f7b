package registrytest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// claim claims a member of a group that has to have a free one.
func claim(t testing.TB, s *registry.Session, group string, opts *registry.ClaimOptions) *registry.Claim {
	t.Helper()
	c, err := s.Claim(within(t), group, opts)
	ok(t, err)
	return c
}

// wantClaimed checks which members of a group a view shows as claimed, in the order of their claims.
func wantClaimed(t testing.TB, r *registry.Registry, group string, want ...string) {
	t.Helper()
	claims, err := r.Claims(group)
	ok(t, err)
	var got []string
	for _, c := range claims {
		got = append(got, c.Instance)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("claimed in %s: %q, want %q", group, got, want)
	}
}

func wantClaimEnd(t testing.TB, c *registry.Claim, reason registry.Reason) {
	t.Helper()
	receive(t, c.Done(), "the claim ends")
	err := c.Err()
	wantError(t, err, registry.ErrClaimEnded)
	if ended, _ := errors.AsType[*registry.ClaimEndedError](err); ended.Reason != reason || ended.Instance != c.Member().Instance || c.Valid() {
		t.Fatalf("%+v, valid %v, want an end for %q", ended, c.Valid(), reason)
	}
}

var exclusive = chapter{"exclusive claims", []test{
	{"one claim for a member, on every process", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		owner := session(t, rs[0])
		join(t, owner, "tools", "i")
		join(t, owner, "tools", "j")
		together(t, rs...)
		one, two := session(t, rs[0]), session(t, rs[1])
		first := claim(t, one, "TOOLS", &registry.ClaimOptions{Strategy: registry.Oldest()})
		together(t, rs...)
		second := claim(t, two, "tools", nil)
		if first.Member().Instance != "i" || second.Member().Instance != "j" || !first.Valid() || second.Err() != nil {
			t.Fatalf("%+v and %+v", first.Member(), second.Member())
		}
		together(t, rs...)
		for _, r := range rs {
			wantClaimed(t, r, "tools", "i", "j")
			_, err := r.Pick("tools", nil)
			wantError(t, err, registry.ErrNoMembers)
		}
		_, err := two.Claim(within(t), "tools", nil)
		wantError(t, err, registry.ErrNoMembers)
		if none, _ := errors.AsType[*registry.NoMembersError](err); none.Group != "tools" || none.Members != 2 || none.Claimed != 2 {
			t.Fatalf("%+v", none)
		}
		ok(t, first.Release(within(t)))
		wantClaimEnd(t, first, registry.ReasonReleased)
		ok(t, first.Release(within(t)))
		together(t, rs...)
		for _, r := range rs {
			wantClaimed(t, r, "tools", "j")
			m, err := r.Pick("tools", nil)
			ok(t, err)
			if m.Instance != "i" {
				t.Fatalf("%+v", m)
			}
		}
		claims, err := rs[0].Claims("tools")
		ok(t, err)
		if c := claims[0]; c.Session != two.ID() || c.Owner != owner.ID() || c.Node != rs[1].Node() || c.TTL != registry.DefaultClaim || c.Revision == 0 || c.Since.IsZero() {
			t.Fatalf("%+v", c)
		}
	}},
	{"of many who want few, each that gets one has it alone", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		owner := session(t, rs[0])
		for _, i := range []string{"a", "b", "c"} {
			join(t, owner, "tools", i)
		}
		together(t, rs...)
		var mu sync.Mutex
		got := map[string]int{}
		var wg sync.WaitGroup
		for _, r := range rs {
			for range 3 {
				s := session(t, r)
				wg.Go(func() {
					c, err := s.Claim(within(t), "tools", nil)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						got[c.Member().Instance]++
					case !errors.Is(err, registry.ErrNoMembers):
						t.Errorf("claim: %v", err)
					}
				})
			}
		}
		wg.Wait()
		if len(got) != 3 || got["a"] != 1 || got["b"] != 1 || got["c"] != 1 {
			t.Fatalf("%v", got)
		}
	}},
	{"it ends with the claimant's session, and with the member", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		owner, claimant := session(t, rs[0]), session(t, rs[1])
		m := join(t, owner, "tools", "i")
		together(t, rs...)
		c := claim(t, claimant, "tools", nil)
		together(t, rs...)
		ok(t, m.Leave(within(t)))
		wantClaimEnd(t, c, registry.ReasonLeft)
		join(t, owner, "tools", "i")
		together(t, rs...)
		eventually(t, "the session that claimed removes what is left", func() bool {
			together(t, rs...)
			_, err := rs[0].Pick("tools", nil)
			return err == nil
		})
		c = claim(t, claimant, "tools", nil)
		ok(t, claimant.Close(within(t)))
		receive(t, c.Done(), "the claim ends with its session")
		wantError(t, c.Err(), registry.ErrSessionEnded)
		together(t, rs...)
		wantClaimed(t, rs[0], "tools")
		claim(t, session(t, rs[0]), "tools", nil)
		_, err := claimant.Claim(within(t), "tools", nil)
		wantError(t, err, registry.ErrSessionEnded)
	}},
	{"it ends when the member's session does, whoever has its place then", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		owner, claimant := session(t, rs[0]), session(t, rs[1])
		join(t, owner, "tools", "i")
		together(t, rs...)
		c := claim(t, claimant, "tools", nil)
		ok(t, owner.Close(within(t)))
		wantClaimEnd(t, c, registry.ReasonClosed)
		join(t, session(t, rs[0]), "tools", "i")
		together(t, rs...)
		wantClaimed(t, rs[1], "tools")
	}},
	{"its time ends, by the claimant's clock first", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		join(t, session(t, rs[0]), "tools", "i")
		together(t, rs...)
		began := time.Now()
		c := claim(t, session(t, rs[1]), "tools", &registry.ClaimOptions{TTL: 1500 * time.Millisecond})
		if claims, err := rs[1].Claims("tools"); err != nil || len(claims) != 1 || claims[0].TTL != 2*time.Second {
			t.Fatalf("%+v (%v): whole seconds", claims, err)
		}
		wantClaimEnd(t, c, registry.ReasonExpired)
		if d := time.Since(began); d < 2*time.Second {
			t.Fatalf("it ended after %v", d)
		}
		eventually(t, "the member is free on the other process", func() bool {
			_, err := rs[0].Pick("tools", nil)
			return err == nil
		})
		_, err := session(t, rs[0]).Claim(within(t), "tools", &registry.ClaimOptions{TTL: -1})
		wantError(t, err, kvstore.ErrBadTTL)
	}},
	{"a claimant that is cut off loses it to the log's clock", func(t *testing.T, b *Bed) {
		r := b.one(t)
		join(t, session(t, r), "tools", "i")
		lost, way := b.faulty(t)
		together(t, r, lost)
		c := claim(t, session(t, lost), "tools", &registry.ClaimOptions{TTL: time.Second})
		together(t, r, lost)
		way.Cut()
		receive(t, c.Done(), "the claimant gives it up by itself")
		if c.Valid() {
			t.Fatal("valid after its time")
		}
		next := claim(t, session(t, r), "tools", &registry.ClaimOptions{Wait: true})
		if next.Member().Instance != "i" {
			t.Fatalf("%+v", next.Member())
		}
		way.Restore()
	}},
	{"who waits gets what becomes free, one after the other", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		owner := session(t, rs[0])
		var mu sync.Mutex
		using := map[string]bool{}
		var wg sync.WaitGroup
		for i := range 10 {
			s := session(t, rs[i%2])
			wg.Go(func() {
				c, err := s.Claim(within(t), "tools", &registry.ClaimOptions{Wait: true})
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				instance := c.Member().Instance
				mu.Lock()
				if using[instance] {
					t.Errorf("%s is claimed twice at once", instance)
				}
				using[instance] = true
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // it is used for a while
				mu.Lock()
				using[instance] = false
				mu.Unlock()
				if err := c.Release(within(t)); err != nil {
					t.Errorf("release: %v", err)
				}
			})
		}
		join(t, owner, "tools", "i") // whom they wait for comes after them
		join(t, owner, "tools", "j")
		wg.Wait()
	}},
	{"who waits in vain learns why", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := s.Claim(ctx, "tools", &registry.ClaimOptions{Wait: true})
		wantError(t, err, registry.ErrNoMembers)
		wantError(t, err, context.DeadlineExceeded)
		ended := make(chan error, 1)
		go func() {
			_, err := s.Claim(within(t), "tools", &registry.ClaimOptions{Wait: true})
			ended <- err
		}()
		ok(t, s.Close(within(t)))
		wantError(t, receive(t, ended, "the wait ends with the session"), registry.ErrSessionEnded)
	}},
	{"a member that becomes free wakes one of those who wait in a process, not all", func(t *testing.T, b *Bed) {
		r := b.one(t)
		join(t, session(t, r), "tools", "i")
		busy, way := b.faulty(t)
		together(t, r, busy)
		held := claim(t, session(t, r), "tools", nil)
		together(t, r, busy)
		var mu sync.Mutex
		claims := 0
		way.OnWrite(func(ops []kvstore.Op) Fate {
			mu.Lock()
			defer mu.Unlock()
			for _, op := range ops {
				if len(op.Key) > 7 && op.Key[:7] == "claims." && !op.Delete {
					claims++
				}
			}
			return Fate{}
		})
		way.DelayFeed(30 * time.Millisecond) // that somebody was quicker is seen late
		const many = 20
		var wg sync.WaitGroup
		for range many {
			s := session(t, busy)
			wg.Go(func() {
				c, err := s.Claim(within(t), "tools", &registry.ClaimOptions{Wait: true})
				if err == nil {
					err = c.Release(within(t))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		ok(t, held.Release(within(t)))
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if claims > many+2 {
			t.Fatalf("%d writes for %d claims", claims, many)
		}
	}},
	{"a claim whose answer was lost is the claimant's, once", func(t *testing.T, b *Bed) {
		r := b.one(t)
		join(t, session(t, r), "tools", "i")
		lost, way := b.faulty(t)
		together(t, r, lost)
		s := session(t, lost)
		first := true
		way.OnWrite(func(ops []kvstore.Op) Fate {
			if first && len(ops) == 1 && ops[0].Key == "claims.tools.i" {
				first = false
				return Fate{Unheard: true}
			}
			return Fate{}
		})
		c := claim(t, s, "tools", nil)
		together(t, r, lost)
		if claims, err := r.Claims("tools"); err != nil || len(claims) != 1 || claims[0].Session != s.ID() || !c.Valid() {
			t.Fatalf("%+v (%v), valid %v", claims, err, c.Valid())
		}
		ok(t, c.Release(within(t)))
		together(t, r, lost)
		wantClaimed(t, r, "tools")
	}},
	{"a claim that comes after its caller has left is removed", func(t *testing.T, b *Bed) {
		r := b.one(t)
		join(t, session(t, r), "tools", "i")
		lost, way := b.faulty(t)
		together(t, r, lost)
		s := session(t, lost)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		came := make(chan struct{})
		way.OnWrite(func(ops []kvstore.Op) Fate {
			if len(ops) == 1 && ops[0].Key == "claims.tools.i" && !ops[0].Delete {
				cancel()
				time.AfterFunc(400*time.Millisecond, func() { close(came) })
				return Fate{Late: 300 * time.Millisecond}
			}
			return Fate{}
		})
		if _, err := s.Claim(ctx, "tools", nil); err == nil {
			t.Fatal("a claim that nobody waits for was got")
		}
		receive(t, came, "the claim comes late")
		eventually(t, "nobody has it", func() bool {
			ok(t, r.Refresh(within(t)))
			claims, err := r.Claims("tools")
			ok(t, err)
			return len(claims) == 0
		})
	}},
	{"claims through other groups count as load", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		for _, i := range []string{"i", "j"} {
			join(t, s, "tools", i)
			join(t, s, "prompts", i)
		}
		c := claim(t, session(t, r), "prompts", &registry.ClaimOptions{Strategy: registry.Oldest()})
		for range 10 {
			m, err := r.Pick("tools", registry.LeastBusy(nil))
			ok(t, err)
			if m.Instance != "j" || c.Member().Instance != "i" {
				t.Fatalf("%+v, %+v is claimed", m, c.Member())
			}
		}
	}},
}}
