package kvtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

var races = chapter{"race", []test{
	{"200 creators, one winner", func(t *testing.T, x *Suite, s kvstore.Store) {
		f := follow(t, x.again(t, s), nil)
		ctx := within(t)
		other := x.again(t, s)
		var wg sync.WaitGroup
		var won atomic.Int64
		var rev atomic.Uint64
		for i := range 200 {
			wg.Go(func() {
				store := s
				if i%2 == 1 {
					store = other
				}
				r, err := store.Create(ctx, "names.calc", fmt.Append(nil, i), 0)
				switch {
				case err == nil:
					won.Add(1)
					rev.Store(uint64(r))
				case !errors.Is(err, kvstore.ErrConflict):
					t.Errorf("creator %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d winners", won.Load())
		}
		f.reach(kvstore.Revision(rev.Load()))
		if e := f.entry("names.calc"); e.Revision != kvstore.Revision(rev.Load()) {
			t.Fatalf("the watch has %+v, the winner %d", e, rev.Load())
		}
	}},
	{"many writers, every revision once", func(t *testing.T, x *Suite, s kvstore.Store) {
		f := follow(t, x.again(t, s), nil)
		ctx := within(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		given := make(map[kvstore.Revision]string)
		for w := range 8 {
			wg.Go(func() {
				key := fmt.Sprintf("writer.%d", w)
				var rev kvstore.Revision
				for i := range 40 {
					var err error
					if rev == 0 {
						rev, err = s.Create(ctx, key, nil, 0)
					} else {
						rev, err = s.Update(ctx, key, fmt.Append(nil, i), rev, 0)
					}
					if err != nil {
						t.Errorf("%s: %v", key, err)
						return
					}
					mu.Lock()
					if by, twice := given[rev]; twice {
						t.Errorf("%d was given to %s and %s", rev, by, key)
					}
					given[rev] = key
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(given) != 320 {
			t.Fatalf("%d revisions", len(given))
		}
		lowest, highest := ^kvstore.Revision(0), kvstore.Revision(0)
		for rev := range given {
			lowest, highest = min(lowest, rev), max(highest, rev)
		}
		if highest-lowest != 319 {
			t.Fatalf("320 writes span %d revisions", highest-lowest+1)
		}
		f.reach(highest)
	}},
	{"batches are whole for every watch, also a new one", func(t *testing.T, x *Suite, s kvstore.Store) {
		// Each batch writes the same number under two keys of its writer, and one shared key by turns: no step may show them differ.
		create(t, s, "first", "")
		f := follow(t, x.again(t, s), nil)
		ctx := within(t)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				a, b := fmt.Sprintf("pair.%d.a", w), fmt.Sprintf("pair.%d.b", w)
				var last kvstore.Revision
				for i := 0; i < 25; {
					ops := []kvstore.Op{{Key: a, Value: fmt.Append(nil, i)}, {Key: b, Value: fmt.Append(nil, i)}}
					if last > 0 {
						ops[0].Revision, ops[1].Revision = last-1, last
					}
					rev, err := s.Batch(ctx, ops)
					if errors.Is(err, kvstore.ErrBusy) {
						continue
					}
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
					last = rev
					i++
				}
			})
		}
		var late []*follower
		for range 6 {
			late = append(late, follow(t, x.again(t, s), nil))
		}
		wg.Wait()
		bar, err := s.Barrier(within(t))
		ok(t, err)
		for i, f := range append(late, f) {
			f.reach(bar)
			wantPairs(t, i, f.all())
		}
	}},
}}

// wantPairs replays steps and compares the pairs after each.
func wantPairs(t *testing.T, n int, steps []kvstore.Step) {
	t.Helper()
	state := make(map[string]string)
	for _, step := range steps {
		if step.Kind == kvstore.Snapshot {
			clear(state)
		}
		for _, e := range step.Entries {
			state[e.Key] = string(e.Value)
		}
		for w := range 4 {
			a, b := state[fmt.Sprintf("pair.%d.a", w)], state[fmt.Sprintf("pair.%d.b", w)]
			if a != b {
				t.Fatalf("watch %d at %d: half a batch is visible: %q and %q", n, step.Revision, a, b)
			}
		}
	}
}
