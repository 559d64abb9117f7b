package registrytest

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

// counter is the session's counter of a key.
func counter(t testing.TB, s *registry.Session, key string) *registry.Counter {
	t.Helper()
	c, err := s.Counter(key)
	ok(t, err)
	return c
}

func count(t testing.TB, c *registry.Counter, delta, want int64) {
	t.Helper()
	got, err := c.Add(within(t), delta)
	ok(t, err)
	if got != want {
		t.Fatalf("%s is %d after %+d, want %d", c.Key(), got, delta, want)
	}
}

func wantSum(t testing.TB, r *registry.Registry, key string, want int64) {
	t.Helper()
	got, err := r.Sum(within(t), key)
	ok(t, err)
	if got != want {
		t.Fatalf("the sum of %s is %d, want %d", key, got, want)
	}
}

var counters = chapter{"counters", []test{
	{"each session counts for itself, and the sum is of all", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		one, two := session(t, rs[0]), session(t, rs[1])
		count(t, counter(t, one, "calls"), 3, 3)
		count(t, counter(t, two, "CALLS"), 5, 5)
		count(t, counter(t, one, "calls"), -1, 2)
		count(t, counter(t, one, "errors"), 7, 7)
		together(t, rs...)
		for _, r := range rs {
			wantSum(t, r, "Calls", 7)
			wantSum(t, r, "errors", 7)
			wantSum(t, r, "none", 0)
		}
		if got, err := counter(t, two, "calls").Get(within(t)); err != nil || got != 5 {
			t.Fatalf("%d %v", got, err)
		}
	}},
	{"what a dead session counted is in no sum from that instant", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		one, two := session(t, rs[0]), session(t, rs[1])
		c := counter(t, one, "calls")
		count(t, c, 100, 100)
		count(t, counter(t, two, "calls"), 1, 1)
		together(t, rs...)
		wantSum(t, rs[1], "calls", 101)
		ok(t, one.Close(within(t)))
		wantSum(t, rs[0], "calls", 1)
		together(t, rs...)
		wantSum(t, rs[1], "calls", 1)
		_, err := c.Add(within(t), 1)
		wantError(t, err, registry.ErrSessionEnded)
		_, err = c.Get(within(t))
		wantError(t, err, registry.ErrSessionEnded)
		again := session(t, rs[0]) // another session, another counter
		count(t, counter(t, again, "calls"), 1, 1)
		wantSum(t, rs[0], "calls", 2)
	}},
	{"a reset tells before and after, and loses nothing that others add", func(t *testing.T, b *Bed) {
		r := b.one(t)
		c := counter(t, session(t, r), "calls")
		count(t, c, 5, 5)
		before, after, err := c.Reset(within(t))
		if ok(t, err); before != 5 || after != 0 {
			t.Fatalf("%d, then %d", before, after)
		}
		const adders, adds = 4, 50
		var wg sync.WaitGroup
		var left atomic.Int64
		left.Store(adders)
		for range adders {
			wg.Go(func() {
				defer left.Add(-1)
				for range adds {
					if _, err := c.Add(within(t), 1); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		taken := int64(0)
		for left.Load() > 0 {
			before, after, err := c.Reset(within(t))
			if ok(t, err); after < 0 || before < after {
				t.Fatalf("%d, then %d", before, after)
			}
			taken += before - after
		}
		wg.Wait()
		before, after, err = c.Reset(within(t))
		ok(t, err)
		if taken += before - after; taken != adders*adds || after != 0 {
			t.Fatalf("%d were counted, the resets took %d and left %d", adders*adds, taken, after)
		}
	}},
	{"a shared counter has no owner, and is in no sum", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		shared := make([]*registry.Counter, 2)
		for i, r := range rs {
			var err error
			shared[i], err = r.SharedCounter("tickets")
			ok(t, err)
		}
		count(t, shared[0], 2, 2)
		count(t, shared[1], 3, 5)
		count(t, counter(t, s, "tickets"), 1, 1)
		ok(t, s.Close(within(t)))
		wantSum(t, rs[0], "tickets", 0)
		count(t, shared[0], 0, 5)
		ok(t, shared[1].Remove(within(t)))
		count(t, shared[0], 1, 1)
	}},
	{"of all who take one back, exactly one brings it to zero", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		var zero atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			c, err := rs[i%2].SharedCounter("users")
			ok(t, err)
			_, err = c.Add(within(t), 1)
			ok(t, err)
		}
		for i := range 20 {
			c, err := rs[i%2].SharedCounter("users")
			ok(t, err)
			wg.Go(func() {
				if left, err := c.Add(within(t), -1); err != nil {
					t.Error(err)
				} else if left == 0 {
					zero.Add(1)
				}
			})
		}
		wg.Wait()
		if zero.Load() != 1 {
			t.Fatalf("%d were told that it is zero", zero.Load())
		}
	}},
	{"what is no key is refused", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		for _, bad := range []string{"", "a.b", "*", "a b", strings.Repeat("a", 64)} {
			_, err := s.Counter(bad)
			wantError(t, err, registry.ErrBadName)
			_, err = r.SharedCounter(bad)
			wantError(t, err, registry.ErrBadName)
			_, err = r.Sum(within(t), bad)
			wantError(t, err, registry.ErrBadName)
		}
	}},
}}
