package kvstore_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/kvstore/kvtest"
)

func BenchmarkMemory(b *testing.B) {
	kvtest.Bench(b, func(*testing.B) kvstore.Store { return kvstore.NewMemory(nil) },
		func(_ *testing.B, s kvstore.Store) kvstore.Store { return s })
}

func BenchmarkOneNode(b *testing.B) {
	node := oneNode(b)
	benchOn(b, func(int) *server.Server { return node })
}

func BenchmarkThreeNodes(b *testing.B) {
	c := threeNodes(b)
	benchOn(b, func(i int) *server.Server { return c.servers[i%3] })
}

func benchOn(b *testing.B, pick func(int) *server.Server) {
	n := 0
	scopes := make(map[kvstore.Store]string)
	open := func(b *testing.B, scope string) kvstore.Store {
		n++
		s := openOn(b, dial(b, pick(n)), scope, nil)
		scopes[s] = scope
		return s
	}
	kvtest.Bench(b, func(b *testing.B) kvstore.Store { return open(b, scopeOf(b)) },
		func(b *testing.B, s kvstore.Store) kvstore.Store { return open(b, scopes[s]) })
}
