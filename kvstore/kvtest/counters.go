package kvtest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// Counters is the contract of kvstore.Counters, to be run on one backend.
type Counters struct {
	// Open makes empty counters that nobody has made yet.
	Open func(t *testing.T) kvstore.Counters
	// Again, if set, opens the same counters a second time, as another process would.
	Again func(t *testing.T, c kvstore.Counters) kvstore.Counters
}

// Run runs the whole contract.
func (x *Counters) Run(t *testing.T) {
	for _, tt := range counterTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := x.Open(t)
			other := c
			if x.Again != nil {
				other = x.Again(t, c)
			}
			tt.run(t, c, other)
		})
	}
}

func add(t *testing.T, c kvstore.Counters, key string, delta, want int64) {
	t.Helper()
	got, err := c.Add(within(t), key, delta)
	ok(t, err)
	if got != want {
		t.Fatalf("%s is %d after %+d, want %d", key, got, delta, want)
	}
}

func wantCount(t *testing.T, c kvstore.Counters, key string, want int64) {
	t.Helper()
	got, err := c.Get(within(t), key)
	ok(t, err)
	if got != want {
		t.Fatalf("%s is %d, want %d", key, got, want)
	}
}

func wantCounts(t *testing.T, c kvstore.Counters, pattern string, want map[string]int64) {
	t.Helper()
	got, err := c.List(within(t), pattern)
	ok(t, err)
	if !maps.Equal(got, want) {
		t.Fatalf("%s is %v, want %v", pattern, got, want)
	}
}

var counterTests = []struct {
	name string
	run  func(t *testing.T, c, other kvstore.Counters)
}{
	{"what nobody has made is 0", func(t *testing.T, c, other kvstore.Counters) {
		wantCount(t, c, "a", 0)
		wantCounts(t, c, ">", map[string]int64{})
		ok(t, c.Purge(within(t), "a.*"))
		add(t, c, "a", 0, 0)
		wantCounts(t, other, ">", map[string]int64{"a": 0})
	}},
	{"the sum just after each add", func(t *testing.T, c, other kvstore.Counters) {
		add(t, c, "a", 5, 5)
		add(t, other, "a", -7, -2)
		add(t, c, "a", 0, -2)
		add(t, c, "b", 1, 1)
		wantCount(t, c, "a", -2)
		wantCount(t, other, "b", 1)
	}},
	{"many at once, each sum once", func(t *testing.T, c, other kvstore.Counters) {
		const n = 400
		var mu sync.Mutex
		var wg sync.WaitGroup
		seen := map[int64]bool{}
		ctx := within(t)
		for w := range 4 {
			wg.Go(func() {
				to := c
				if w%2 == 1 {
					to = other
				}
				for range n / 4 {
					sum, err := to.Add(ctx, "a", 1)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					seen[sum] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != n || !seen[1] || !seen[n] {
			t.Fatalf("%d different sums of %d adds", len(seen), n)
		}
		wantCounts(t, c, "a", map[string]int64{"a": n})
	}},
	{"patterns choose whole tokens", func(t *testing.T, c, other kvstore.Counters) {
		for i, key := range []string{"s.calls.A", "s.calls.B", "s.errors.A", "s.calls", "t.calls.A", "s.calls.A.x"} {
			add(t, c, key, int64(i), int64(i))
		}
		wantCounts(t, other, "s.calls.*", map[string]int64{"s.calls.A": 0, "s.calls.B": 1})
		wantCounts(t, other, "s.*.A", map[string]int64{"s.calls.A": 0, "s.errors.A": 2})
		wantCounts(t, other, "s.calls.>", map[string]int64{"s.calls.A": 0, "s.calls.B": 1, "s.calls.A.x": 5})
		wantCounts(t, other, "s.calls", map[string]int64{"s.calls": 3})
		wantCounts(t, other, "s", map[string]int64{})
		wantCounts(t, other, "*.*", map[string]int64{"s.calls": 3})
	}},
	{"what was purged begins at 0 again", func(t *testing.T, c, other kvstore.Counters) {
		add(t, c, "s.calls.A", 7, 7)
		add(t, c, "s.errors.A", 1, 1)
		add(t, c, "s.calls.B", 2, 2)
		ok(t, other.Purge(within(t), "s.*.A"))
		wantCount(t, c, "s.calls.A", 0)
		wantCounts(t, c, ">", map[string]int64{"s.calls.B": 2})
		add(t, c, "s.calls.A", 1, 1)
	}},
	{"as many as a cluster's sessions may have", func(t *testing.T, c, other kvstore.Counters) {
		const n = 2100 // more than one answer of NATS' holds, twice
		var wg sync.WaitGroup
		ctx := within(t)
		for w := range 20 {
			wg.Go(func() {
				for i := w; i < n; i += 20 {
					if _, err := c.Add(ctx, fmt.Sprintf("s.calls.%d", i), 2); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		got, err := other.List(within(t), "s.calls.*")
		ok(t, err)
		sum := int64(0)
		for _, v := range got {
			sum += v
		}
		if len(got) != n || sum != 2*n {
			t.Fatalf("%d counters with a sum of %d", len(got), sum)
		}
	}},
	{"a sum that is no int64 is an error, and counted", func(t *testing.T, c, other kvstore.Counters) {
		add(t, c, "a", math.MaxInt64, math.MaxInt64)
		_, err := c.Add(within(t), "a", 1)
		wantError(t, err, kvstore.ErrRange)
		_, err = other.Get(within(t), "a")
		wantError(t, err, kvstore.ErrRange)
		_, err = other.List(within(t), "a")
		wantError(t, err, kvstore.ErrRange)
		add(t, c, "a", -1, math.MaxInt64)
		add(t, c, "b", math.MinInt64, math.MinInt64)
	}},
	{"what is no key or pattern is refused", func(t *testing.T, c, _ kvstore.Counters) {
		for _, bad := range []string{"", ".", "a..b", "a.", "a b", "a.*", ">", "é", strings.Repeat("a", kvstore.MaxKey+1)} {
			_, err := c.Add(within(t), bad, 1)
			wantError(t, err, kvstore.ErrBadKey)
			_, err = c.Get(within(t), bad)
			wantError(t, err, kvstore.ErrBadKey)
		}
		for _, bad := range []string{"", "a..b", ".a", "a*", "a.>.b", ">.a", "a b"} {
			_, err := c.List(within(t), bad)
			wantError(t, err, kvstore.ErrBadPattern)
			wantError(t, c.Purge(within(t), bad), kvstore.ErrBadPattern)
		}
		wantCounts(t, c, ">", map[string]int64{})
	}},
	{"nothing is counted after the context's end", func(t *testing.T, c, _ kvstore.Counters) {
		add(t, c, "a", 1, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Add(ctx, "a", 1)
		wantError(t, err, context.Canceled)
		wantError(t, err, kvstore.ErrUnavailable)
		wantError(t, c.Purge(ctx, "a"), context.Canceled)
		wantCount(t, c, "a", 1)
	}},
}
