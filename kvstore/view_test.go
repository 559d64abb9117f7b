package kvstore_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// view follows a store and remembers what it was told, for tests that look at it while they harm the servers.
type view struct {
	mu      sync.Mutex
	entries map[string]kvstore.Entry
	last    kvstore.Step
	appends []kvstore.Revision // of every entry that came in an Append, in order
	snaps   int
	arrived map[kvstore.Revision]time.Time
}

func viewOf(t testing.TB, s kvstore.Store, checks <-chan kvstore.Check) *view {
	t.Helper()
	v := &view{entries: make(map[string]kvstore.Entry), arrived: make(map[kvstore.Revision]time.Time)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for step, err := range s.Watch(ctx, &kvstore.WatchOptions{Check: checks}) {
			if err != nil {
				t.Errorf("the watch ended: %v", err)
				return
			}
			v.apply(t, step)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	v.until(t, "a first snapshot", func() bool { return v.snapshots() > 0 })
	return v
}

func (v *view) apply(t testing.TB, step kvstore.Step) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if step.Kind == kvstore.Snapshot {
		v.snaps++
		clear(v.entries)
		if step.Log == v.last.Log && step.Revision < v.last.Revision {
			t.Errorf("a snapshot at %d after %d", step.Revision, v.last.Revision)
		}
	}
	for i, e := range step.Entries {
		if step.Kind == kvstore.Append {
			if want := v.last.Revision + 1 + kvstore.Revision(i); e.Revision != want {
				t.Errorf("revision %d, want %d", e.Revision, want)
			}
			v.appends = append(v.appends, e.Revision)
		}
		v.entries[e.Key] = e
		v.arrived[e.Revision] = time.Now()
	}
	v.last = step
}

func (v *view) snapshots() int { v.mu.Lock(); defer v.mu.Unlock(); return v.snaps }

func (v *view) at() kvstore.Revision { v.mu.Lock(); defer v.mu.Unlock(); return v.last.Revision }

func (v *view) log() string { v.mu.Lock(); defer v.mu.Unlock(); return v.last.Log }

func (v *view) state() map[string]kvstore.Entry {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.entries)
}

// has tells whether a key is there and alive.
func (v *view) has(key string) bool {
	e, ok := v.state()[key]
	return ok && !e.Tombstone()
}

func (v *view) wait(t testing.TB, rev kvstore.Revision) {
	t.Helper()
	v.until(t, "the watch comes to the revision", func() bool { return v.at() >= rev })
}

func (v *view) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	poll(t, what, ok)
}

// poll waits until ok is true, for as long as anything here may take.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
