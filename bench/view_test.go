package bench_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// fill registers names from many sessions, as many as a batch takes at a time.
func fill(b *testing.B, reg *registry.Registry, sessions, names int) (out []*registry.Session) {
	b.Helper()
	for i := range sessions {
		s := session(b, reg)
		out = append(out, s)
		var many []registry.NameOptions
		for n := range names / sessions {
			many = append(many, registry.NameOptions{Name: fmt.Sprintf("team-%d.server-%d", i, n)})
		}
		if _, err := s.RegisterMany(b.Context(), many); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

// How long until a fresh process has the view of a large scope?
func BenchmarkFreshView(b *testing.B) {
	const sessions, names = 100, 100_000
	cluster := bustest.Cluster(b, 3)
	scope := fmt.Sprintf("bench-%d", scopes.Add(1))
	at := func(node int) (kvstore.Store, *registry.Options) {
		conn := bustest.Connect(b, cluster.Node(node))
		store, err := kvstore.OpenJetStream(b.Context(), conn.NATS(), scope, nil)
		if err != nil {
			b.Fatal(err)
		}
		return store, &registry.Options{Scope: scope, Peers: conn, Role: registry.Never}
	}
	store, opts := at(0)
	opts.Role = registry.Node
	fill(b, open(b, store, opts), sessions, names)
	for b.Loop() {
		b.StopTimer()
		store, opts := at(1)
		b.StartTimer()
		reg, err := registry.Open(b.Context(), store, opts)
		if err != nil {
			b.Fatal(err)
		}
		if err := reg.WaitSynced(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if got := len(reg.Names()); got != names {
			b.Fatalf("%d names", got)
		}
		if err := reg.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// What does a name cost a view in memory? The store is in this process and shares the text of the keys with it: add their length.
func BenchmarkViewMemory(b *testing.B) {
	const names = 100_000
	store := kvstore.NewMemory(nil)
	fill(b, open(b, store, nil), 100, names)
	for b.Loop() {
		before := heap()
		reg, err := registry.Open(b.Context(), store, &registry.Options{Role: registry.Never})
		if err != nil {
			b.Fatal(err)
		}
		if err := reg.WaitSynced(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(heap()-before)/names, "B/name")
		if got := len(reg.Names()); got != names {
			b.Fatalf("%d names", got)
		}
		if err := reg.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// How long after the end of a session with a thousand names have all of them gone from another view?
func BenchmarkSessionDeath(b *testing.B) {
	const names = 1000
	cluster := bustest.Cluster(b, 3)
	scope := fmt.Sprintf("bench-%d", scopes.Add(1))
	var regs []*registry.Registry
	for i := range 2 {
		conn := bustest.Connect(b, cluster.Node(i))
		store, err := kvstore.OpenJetStream(b.Context(), conn.NATS(), scope, nil)
		if err != nil {
			b.Fatal(err)
		}
		regs = append(regs, open(b, store, &registry.Options{Scope: scope, Peers: conn, Role: registry.Node}))
	}
	for b.Loop() {
		b.StopTimer()
		s := fill(b, regs[0], 1, names)[0]
		if err := regs[1].WaitFor(b.Context(), regs[0].Revision()); err != nil {
			b.Fatal(err)
		}
		down, err := regs[1].Monitor(b.Context(), fmt.Sprintf("team-0.server-%d", names-1))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		go s.Close(b.Context())
		<-down
		for len(regs[1].Names()) > 0 {
			runtime.Gosched()
		}
		b.StopTimer()
		<-s.Done()
		b.StartTimer()
	}
}
