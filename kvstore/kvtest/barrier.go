package kvtest

import (
	"sync"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

var barriers = chapter{"barrier", []test{
	{"it is above all that was acknowledged", func(t *testing.T, x *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "v")
		other := x.again(t, s)
		f := follow(t, other, nil)
		bar, err := other.Barrier(within(t))
		ok(t, err)
		if bar <= rev {
			t.Fatalf("barrier %d, acknowledged %d", bar, rev)
		}
		f.reach(bar)
		if f.entry("k").Revision != rev {
			t.Fatal("a view at the barrier lacks what was acknowledged before")
		}
		wantValue(t, s, "k", "v", rev)
	}},
	{"it may be the first write", func(t *testing.T, _ *Suite, s kvstore.Store) {
		f := follow(t, s, nil)
		bar, err := s.Barrier(within(t))
		ok(t, err)
		f.reach(bar)
	}},
	{"many at once, each above what its caller knew", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "")
		first, err := s.Barrier(within(t))
		ok(t, err)
		var wg sync.WaitGroup
		ctx := within(t)
		for range 8 {
			wg.Go(func() {
				for range 25 {
					known := rev
					if e, err := s.Get(ctx, "k"); err == nil {
						known = max(known, e.Revision)
					}
					bar, err := s.Barrier(ctx)
					if err != nil || bar <= known {
						t.Errorf("barrier %d, known %d: %v", bar, known, err)
						return
					}
				}
			})
		}
		for at, i := rev, 0; i < 50; i++ {
			at = update(t, s, "k", "", at)
		}
		wg.Wait()
		last, err := s.Barrier(within(t))
		ok(t, err)
		if last <= first+50 {
			t.Fatalf("barriers from %d to %d", first, last)
		}
	}},
}}
