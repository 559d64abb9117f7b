package bench_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/registry"
)

// What do a thousand durable registrations cost on three nodes: one by one, in one call, and beside as many bare JetStream publishes?
func BenchmarkThousand(b *testing.B) {
	const names = 1000
	cluster := bustest.Cluster(b, 3)
	b.Run("floor=publish", func(b *testing.B) {
		conn := bustest.Connect(b, cluster.Node(0))
		js, err := jetstream.New(conn.NATS())
		if err != nil {
			b.Fatal(err)
		}
		stream := fmt.Sprintf("floor-%d", scopes.Add(1))
		if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{stream + ".>"}, Replicas: 3}); err != nil {
			b.Fatal(err)
		}
		data := make([]byte, 300) // about a record
		for b.Loop() {
			for i := range names {
				if _, err := js.Publish(b.Context(), fmt.Sprintf("%s.%d", stream, i), data); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	for _, many := range []bool{false, true} {
		b.Run(fmt.Sprintf("one-call=%v", many), func(b *testing.B) {
			onNode(b, cluster.Node(0), func(b *testing.B, reg *registry.Registry) {
				for b.Loop() {
					b.StopTimer()
					s := session(b, reg)
					b.StartTimer()
					if many {
						batch := make([]registry.NameOptions, names)
						for i := range batch {
							batch[i].Name = fmt.Sprintf("n%d", i)
						}
						if _, err := s.RegisterMany(b.Context(), batch); err != nil {
							b.Fatal(err)
						}
					} else {
						for i := range names {
							if _, err := s.Register(b.Context(), fmt.Sprintf("n%d", i), nil); err != nil {
								b.Fatal(err)
							}
						}
					}
					b.StopTimer()
					if err := s.Close(b.Context()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		})
	}
}
