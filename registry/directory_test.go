package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// The directory shows what a map would, whatever is put and taken out in what order.
func TestDirectoryIsAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	d, want := newDirectory(), map[string]*Record{}
	for i := range 30_000 {
		name := fmt.Sprintf("n%d", rnd.IntN(3000)+i/30)
		if rnd.IntN(2) == 0 {
			d.put(name, nil)
			delete(want, name)
		} else {
			rec := &Record{Name: name, Revision: kvstore.Revision(i)}
			d.put(name, rec)
			want[name] = rec
		}
		if other := fmt.Sprintf("n%d", rnd.IntN(4000)+i/30); d.find(other) != want[other] {
			t.Fatalf("after %d moves %s is %v, want %v", i, other, d.find(other), want[other])
		}
	}
	if got := maps.Collect(d.all()); !maps.Equal(got, want) || d.len() != len(want) {
		t.Fatalf("%d names, len %d, want %d", len(got), d.len(), len(want))
	}
	cells := 0
	for i := range d.shards {
		cells += len(d.shards[i].Load().cells)
	}
	if most := 4*len(want) + 8*directoryShards; cells > most {
		t.Errorf("%d cells for %d names: those that have gone are never dropped", cells, len(want))
	}
}

// A reader without a lock finds every name that stays, and sees each step as a whole: what it reads second is as new as what it read first.
func TestDirectoryReadersSeeWholeSteps(t *testing.T) {
	l, v := newLogbook("log"), newView()
	const pair = 50
	v.apply(l.append(put(leaseKey("stays"), encode(leaseRecord{Lease: Lease{Session: "stays"}, V: recordVersion}))))
	v.apply(l.append(put(nameKey("stays"), encode(nameRecord{Record: Record{Name: "stays", Session: "stays", Instance: "stays"}, V: recordVersion}))))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if rec, err := v.whereis("stays"); err != nil || rec.Name != "stays" {
					t.Errorf("a name that stays: %v, %v", rec, err)
					return
				}
				// All names of a session are written in one step, and end in one. What is read second is as new as what is read first.
				i, j := rand.IntN(pair), rand.IntN(pair)
				a, _ := v.whereis(fmt.Sprintf("n%d", i))
				b, _ := v.whereis(fmt.Sprintf("n%d", j))
				if a != nil && b != nil && b.Session < a.Session {
					t.Errorf("n%d is of %s, and then n%d still of %s", i, a.Session, j, b.Session)
					return
				}
			}
		})
	}
	for round := range 60 {
		session := fmt.Sprintf("s%04d", round)
		steps := []kvstore.Entry{put(leaseKey(session), encode(leaseRecord{Lease: Lease{Session: session}, V: recordVersion}))}
		for i := range pair {
			name := fmt.Sprintf("n%d", i)
			steps = append(steps, put(nameKey(name), encode(nameRecord{Record: Record{Name: name, Session: session, Instance: session}, V: recordVersion})))
		}
		v.apply(l.append(steps...))
	}
	close(done)
	readers.Wait()
}
