package bench_test

import (
	"fmt"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// How long does it take to list a group?
func BenchmarkMembers(b *testing.B) {
	for _, members := range []int{10, 1000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			reg := open(b, kvstore.NewMemory(nil), nil)
			s := session(b, reg)
			for i := range members {
				if _, err := s.Join(b.Context(), "tools", &registry.JoinOptions{Instance: fmt.Sprintf("i%d", i)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if got, err := reg.Members("tools"); err != nil || len(got) != members {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}
