package bench_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

func TestMain(m *testing.M) { bustest.Main(m, nil) }

// scopes numbers the scopes, so that no benchmark meets another's names.
var scopes atomic.Int64

// backends runs a benchmark on each backend, with a registry of a scope of its own.
func backends(b *testing.B, run func(b *testing.B, reg *registry.Registry)) {
	b.Run("backend=memory", func(b *testing.B) {
		run(b, open(b, kvstore.NewMemory(nil), nil))
	})
	b.Run("nodes=1", func(b *testing.B) { onNode(b, bustest.Node(b, nil), run) })
	b.Run("nodes=3", func(b *testing.B) { onNode(b, bustest.Cluster(b, 3).Node(0), run) })
}

func onNode(b *testing.B, n *bus.Node, run func(b *testing.B, reg *registry.Registry)) {
	conn := bustest.Connect(b, n)
	scope := fmt.Sprintf("bench-%d", scopes.Add(1))
	store, err := kvstore.OpenJetStream(b.Context(), conn.NATS(), scope, nil)
	if err != nil {
		b.Fatal(err)
	}
	run(b, open(b, store, &registry.Options{Scope: scope, Peers: conn, Role: registry.Node}))
}

func open(b *testing.B, store kvstore.Store, opts *registry.Options) *registry.Registry {
	reg, err := registry.Open(b.Context(), store, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := reg.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return reg
}

func session(b *testing.B, reg *registry.Registry) *registry.Session {
	s, err := reg.NewSession(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}
