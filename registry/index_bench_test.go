package registry

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// labelledNames is n names of n/1000 sessions on three nodes, with three labels each, one of them different for each name.
func labelledNames(n int) (out []kvstore.Entry) {
	for i := range n {
		session := fmt.Sprintf("S%06d", i/1000)
		if i%1000 == 0 {
			out = append(out, putLease(session))
		}
		name := fmt.Sprintf("team-%d.server-%d", i%100, i)
		out = append(out, put(nameKey(name), encode(nameRecord{Record: Record{
			Name: name, Session: session, Instance: name, Node: fmt.Sprint("node-", i%3), Kind: "stdio", Host: "host-1", PID: 4711,
			Labels: map[string]string{"type": "tool", "lang": fmt.Sprint("l", i%7), "build": fmt.Sprint(i)},
		}, V: recordVersion})))
	}
	for i := range out {
		out[i].Revision = kvstore.Revision(i + 1)
	}
	return out
}

// How long does a fresh view take to load 100,000 names, and what does one of them cost, with its indexes? And the end of 1,000 names at once?
func BenchmarkView(b *testing.B) {
	const n = 100_000
	entries := labelledNames(n)
	load := func() *view {
		v := newView()
		v.apply(kvstore.Step{Kind: kvstore.Snapshot, Entries: entries, Revision: entries[len(entries)-1].Revision, Log: "log"})
		return v
	}
	b.Run("load=100000", func(b *testing.B) {
		for b.Loop() {
			if v := load(); v.index.names.len() != n {
				b.Fatal(v.index.names.len())
			}
		}
		b.StopTimer()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		v := load()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/name")
		v.index = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "index-B/name")
		runtime.KeepAlive(v)
	})
	b.Run("end=1000", func(b *testing.B) {
		v := load()
		last := v.revision
		for i := 0; b.Loop(); i++ {
			session := fmt.Sprintf("S%06d", i%(n/1000))
			last++
			end := del(leaseKey(session), ReasonClosed)
			end.Revision = last
			v.apply(kvstore.Step{Entries: []kvstore.Entry{end}, Revision: last, Log: "log"})
			b.StopTimer()
			last++
			again := putLease(session) // a real one never comes back
			again.Revision = last
			v.apply(kvstore.Step{Entries: []kvstore.Entry{again}, Revision: last, Log: "log"})
			b.StartTimer()
		}
	})
}
