package kvstore_test

import (
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/kvstore/kvtest"
)

func TestJetStreamContract(t *testing.T) {
	t.Run("one node", func(t *testing.T) {
		node := oneNode(t)
		suiteOn(func(int) *server.Server { return node }).Run(t)
	})
	t.Run("three nodes", func(t *testing.T) {
		c := threeNodes(t)
		suiteOn(func(i int) *server.Server { return c.servers[i%3] }).Run(t)
	})
}

// suiteOn is the contract on servers: each store has a connection of its own, to another server each.
func suiteOn(pick func(int) *server.Server) *kvtest.Suite {
	var mu sync.Mutex
	var n int
	scopes := make(map[kvstore.Store]string)
	open := func(t *testing.T, scope string) kvstore.Store {
		mu.Lock()
		defer mu.Unlock()
		n++
		s := openOn(t, dial(t, pick(n)), scope, nil)
		scopes[s] = scope
		return s
	}
	scope := func(s kvstore.Store) string {
		mu.Lock()
		defer mu.Unlock()
		return scopes[s]
	}
	return &kvtest.Suite{
		Open:  func(t *testing.T) kvstore.Store { return open(t, scopeOf(t)) },
		Again: func(t *testing.T, s kvstore.Store) kvstore.Store { return open(t, scope(s)) },
		Renew: func(t *testing.T, s kvstore.Store) {
			js, err := jetstream.New(dial(t, pick(0)))
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteStream(t.Context(), "KV_toolbus_"+scope(s)); err != nil {
				t.Fatal(err)
			}
		},
	}
}
