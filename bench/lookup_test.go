package bench_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// How long does a look-up take, with many names drawn at random? A bare map read of the same names is the floor.
func BenchmarkWhereis(b *testing.B) {
	const names = 100_000
	reg := open(b, kvstore.NewMemory(nil), nil)
	s := session(b, reg)
	keys := make([]string, names)
	floor := make(map[string]registry.Record, names)
	for i := range keys {
		keys[i] = fmt.Sprintf("team-%d.server-%d", i%100, i)
		r, err := s.Register(b.Context(), keys[i], nil)
		if err != nil {
			b.Fatal(err)
		}
		floor[keys[i]] = r.Record()
	}
	rand.Shuffle(names, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.Run("view", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			if n++; n == names {
				n = 0
			}
			if _, err := reg.Whereis(keys[n]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("floor=map", func(b *testing.B) {
		n := 0
		for b.Loop() {
			if n++; n == names {
				n = 0
			}
			if _, ok := floor[keys[n]]; !ok {
				b.Fatal("not there")
			}
		}
	})
}
