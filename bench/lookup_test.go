package bench_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// How long does a look-up take, with names drawn at random from many, while none moves and while names come and go? A bare map read of the same
// names, which nobody may change meanwhile, is the floor. Reading: the record is looked into, which is one more fetch from memory.
func BenchmarkWhereis(b *testing.B) {
	const names = 100_000
	reg := open(b, kvstore.NewMemory(nil), nil)
	s := session(b, reg)
	keys := make([]string, names)
	floor := make(map[string]*registry.Record, names)
	for i := range keys {
		keys[i] = fmt.Sprintf("team-%d.server-%d", i%100, i)
		r, err := s.Register(b.Context(), keys[i], nil)
		if err != nil {
			b.Fatal(err)
		}
		rec := r.Record()
		floor[keys[i]] = &rec
	}
	rand.Shuffle(names, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	whereis := func(b *testing.B, reading bool) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			if n++; n == names {
				n = 0
			}
			if rec, err := reg.Whereis(keys[n]); err != nil || reading && rec.Name != keys[n] {
				b.Fatal(rec, err)
			}
		}
	}
	b.Run("view/reading=false", func(b *testing.B) { whereis(b, false) })
	b.Run("view/reading=true", func(b *testing.B) { whereis(b, true) })
	b.Run("view/moving", func(b *testing.B) {
		began, stop := time.Now(), move(b, s)
		whereis(b, false)
		b.ReportMetric(float64(stop())/time.Since(began).Seconds(), "moves/s")
	})
	for _, reading := range []bool{false, true} {
		b.Run(fmt.Sprintf("floor=map/reading=%v", reading), func(b *testing.B) {
			n := 0
			for b.Loop() {
				if n++; n == names {
					n = 0
				}
				if rec := floor[keys[n]]; rec == nil || reading && rec.Name != keys[n] {
					b.Fatal("not there")
				}
			}
		})
	}
}

// move has names come and go, a thousand a second, until stop, which says how many did.
func move(b *testing.B, s *registry.Session) (stop func() int) {
	var wg sync.WaitGroup
	done, moves := make(chan struct{}), 0
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			r, err := s.Register(b.Context(), fmt.Sprintf("moving.server-%d", moves), nil)
			if err == nil {
				err = r.Unregister(b.Context())
			}
			if err != nil {
				b.Error(err)
				return
			}
			moves += 2
		}
	})
	return func() int { close(done); wg.Wait(); return moves }
}
