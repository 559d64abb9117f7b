package bench_test

import (
	"fmt"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

// How long does it take to claim a name, alone and together with a group?
func BenchmarkRegister(b *testing.B) {
	for _, groups := range [][]string{nil, {"tools"}} {
		b.Run(fmt.Sprintf("groups=%d", len(groups)), func(b *testing.B) {
			backends(b, func(b *testing.B, reg *registry.Registry) {
				s := session(b, reg)
				n := 0
				for b.Loop() {
					n++
					if _, err := s.Register(b.Context(), fmt.Sprintf("name-%d", n), &registry.RegisterOptions{Groups: groups}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// And many at a time?
func BenchmarkRegisterParallel(b *testing.B) {
	backends(b, func(b *testing.B, reg *registry.Registry) {
		s := session(b, reg)
		ids := make(chan int, 1)
		ids <- 0
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				n := <-ids + 1
				ids <- n
				if _, err := s.Register(b.Context(), fmt.Sprintf("name-%d", n), nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
