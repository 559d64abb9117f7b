package kvstore_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/kvstore/kvtest"
)

func TestMemoryCountersContract(t *testing.T) {
	suite := &kvtest.Counters{Open: func(*testing.T) kvstore.Counters { return &kvstore.MemoryCounters{} }}
	suite.Run(t)
}

func TestJetStreamCountersContract(t *testing.T) {
	t.Run("one node", func(t *testing.T) {
		node := oneNode(t)
		countersOn(func(int) *server.Server { return node }).Run(t)
	})
	t.Run("three nodes", func(t *testing.T) {
		c := threeNodes(t)
		countersOn(func(i int) *server.Server { return c.servers[i%3] }).Run(t)
	})
}

func countersOn(pick func(int) *server.Server) *kvtest.Counters {
	var mu sync.Mutex
	n := 0
	scopes := map[kvstore.Counters]string{}
	open := func(t *testing.T, scope string) kvstore.Counters {
		mu.Lock()
		defer mu.Unlock()
		n++
		c := openCounters(t, pick(n), scope)
		scopes[c] = scope
		return c
	}
	return &kvtest.Counters{
		Open: func(t *testing.T) kvstore.Counters { return open(t, scopeOf(t)) },
		Again: func(t *testing.T, c kvstore.Counters) kvstore.Counters {
			mu.Lock()
			scope := scopes[c]
			mu.Unlock()
			return open(t, scope)
		},
	}
}

func openCounters(t testing.TB, s *server.Server, scope string) *kvstore.JetStreamCounters {
	t.Helper()
	c, err := kvstore.OpenJetStreamCounters(t.Context(), dial(t, s), scope, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An add whose answer does not come is sent again under the same id, and counted once.
func TestAddWithoutAnAnswerIsCountedOnce(t *testing.T) {
	node := oneNode(t)
	scope := scopeOf(t)
	nc, line := throughProxy(t, node)
	c, err := kvstore.OpenJetStreamCounters(t.Context(), nc, scope, nil)
	if err != nil {
		t.Fatal(err)
	}
	must[int64](t)(c.Add(within(t, 20*time.Second), "a", 1))
	line.hold(true)
	sum := make(chan int64, 1)
	go func() {
		v, err := c.Add(within(t, 20*time.Second), "a", 10)
		if err != nil {
			t.Error(err)
		}
		sum <- v
	}()
	<-time.After(2500 * time.Millisecond) // the first try is given up after 2 s, so that two are on their way
	line.hold(false)
	if v := <-sum; v != 11 {
		t.Fatalf("the sum was %d, want 11", v)
	}
	other := openCounters(t, node, scope)
	if v := must[int64](t)(other.Get(within(t, 20*time.Second), "a")); v != 11 {
		t.Fatalf("the sum is %d: the add was counted %d times", v, (v-1)/10)
	}
	line.hold(true)
	if _, err := c.Add(within(t, 200*time.Millisecond), "a", 100); !errors.Is(err, kvstore.ErrUnknown) {
		t.Fatalf("%v, want unknown", err)
	}
	line.hold(false)
	poll(t, "the late add is counted", func() bool { return must[int64](t)(other.Get(within(t, 20*time.Second), "a")) == 111 })
}

// A stream of that name which does not count is left alone.
func TestCountersOfAForeignStream(t *testing.T) {
	node := oneNode(t)
	scope := scopeOf(t)
	js := must[jetstream.JetStream](t)(jetstream.New(dial(t, node)))
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "toolbus_" + scope + "_counters", Subjects: []string{"toolbus.counters." + scope + ".>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openCounters(t, node, scope).Add(within(t, 20*time.Second), "a", 1); !errors.Is(err, kvstore.ErrForeign) {
		t.Fatalf("%v, want foreign", err)
	}
}
