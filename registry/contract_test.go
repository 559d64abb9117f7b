package registry_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

const contractTTL = 6 * time.Second

func TestContractMemory(t *testing.T) {
	suite := registrytest.Suite{
		In: func(t *testing.T, test func(*testing.T)) { synctest.Test(t, test) },
		Make: func(t *testing.T) registrytest.Bed {
			w := registrytest.NewWorld(contractTTL)
			n := 0
			counters, history := &kvstore.MemoryCounters{}, kvstore.NewMemoryHistory(nil)
			return registrytest.Bed{Open: func(t testing.TB, way func(kvstore.Store) kvstore.Store) *registry.Registry {
				n++
				server := fmt.Sprintf("s%d", n%3)
				return openOn(t, w.Log, way, &registry.Options{
					Node: server, Role: registry.Node, Counters: counters, History: history, Clock: registrytest.NewClock(0), Peers: w.Hub.Connect(server, &registrytest.PeerOptions{Node: true}),
				})
			}}
		},
	}
	suite.Run(t)
}

func TestContractOneNode(t *testing.T) {
	if testing.Short() {
		t.Skip("the same on one server takes a while")
	}
	node := bustest.Node(t, nil)
	contractOn(t, "one", node)
}

func TestContractThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("the same on three servers takes a while")
	}
	contractOn(t, "three", bustest.Cluster(t, 3).Nodes()...)
}

// scopes counts the scopes of this package's tests.
var scopes atomic.Int64

// contractOn runs the contract with each process connected to the next node. Each test has a scope of its own.
func contractOn(t *testing.T, name string, nodes ...*bus.Node) {
	registrytest.Run(t, func(t *testing.T) registrytest.Bed {
		scope := fmt.Sprintf("%s-%d", name, scopes.Add(1))
		n := 0
		return registrytest.Bed{Open: func(t testing.TB, way func(kvstore.Store) kvstore.Store) *registry.Registry {
			n++
			node := nodes[n%len(nodes)]
			conn := bustest.Connect(t, node)
			store, err := kvstore.OpenJetStream(t.Context(), conn.NATS(), scope, &kvstore.JetStreamOptions{
				Metadata: map[string]string{registry.MetadataTTL: contractTTL.String()},
			})
			if err != nil {
				t.Fatal(err)
			}
			counters, err := kvstore.OpenJetStreamCounters(t.Context(), conn.NATS(), scope, nil)
			if err != nil {
				t.Fatal(err)
			}
			history, err := kvstore.OpenJetStreamHistory(t.Context(), conn.NATS(), scope, nil)
			if err != nil {
				t.Fatal(err)
			}
			return openOn(t, store, way, &registry.Options{
				Scope: scope, Node: node.Name(), Role: registry.Node, Peers: conn, Counters: counters, History: history,
			})
		}}
	})
}

func openOn(t testing.TB, store kvstore.Store, way func(kvstore.Store) kvstore.Store, opts *registry.Options) *registry.Registry {
	t.Helper()
	if way != nil {
		store = way(store)
	}
	r, err := registry.Open(t.Context(), store, opts)
	if err != nil {
		t.Fatal(err)
	}
	registrytest.CloseWith(t, r)
	return r
}
