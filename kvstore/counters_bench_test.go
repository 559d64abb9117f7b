package kvstore_test

import (
	"fmt"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// An add, one after the other, and a list of 1,000 counters, as a sum over as many sessions reads them.
func BenchmarkCounters(b *testing.B) {
	for _, backend := range []struct {
		name string
		open func(b *testing.B) kvstore.Counters
	}{
		{"memory", func(*testing.B) kvstore.Counters { return &kvstore.MemoryCounters{} }},
		{"one", func(b *testing.B) kvstore.Counters { return openCounters(b, oneNode(b), scopeOf(b)) }},
		{"three", func(b *testing.B) kvstore.Counters { return openCounters(b, threeNodes(b).servers[0], scopeOf(b)) }},
	} {
		c := backend.open(b)
		b.Run("add/backend="+backend.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Add(b.Context(), "a", 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("list/n=1000/backend="+backend.name, func(b *testing.B) {
			for i := range 1000 {
				if _, err := c.Add(b.Context(), fmt.Sprintf("s.calls.%d", i), 1); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if all, err := c.List(b.Context(), "s.calls.*"); err != nil || len(all) != 1000 {
					b.Fatal(len(all), err)
				}
			}
		})
	}
}
