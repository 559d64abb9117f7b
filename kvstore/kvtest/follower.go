package kvtest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// follower runs a watch and keeps what it says, as a view does. It fails the test where a step breaks the contract:
// a revision left out, repeated, or out of order; an entry of another log; a key twice in a snapshot.
type follower struct {
	t      *testing.T
	prefix string
	stop   func()

	mu       sync.Mutex
	entries  map[string]kvstore.Entry
	steps    []kvstore.Step
	revision kvstore.Revision
	log      string
	err      error
	gate     chan struct{} // while not nil, the reader waits here after each step
}

// follow starts a follower and waits for its first snapshot.
func follow(t *testing.T, s kvstore.Store, opts *kvstore.WatchOptions) *follower {
	t.Helper()
	f := &follower{t: t, entries: make(map[string]kvstore.Entry)}
	if opts != nil {
		f.prefix = opts.Prefix
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	f.stop = sync.OnceFunc(func() {
		cancel()
		f.open()
		<-done
	})
	go func() {
		defer close(done)
		for step, err := range s.Watch(ctx, opts) {
			f.apply(step, err)
		}
	}()
	t.Cleanup(f.stop)
	eventually(t, patience, "a first snapshot", func() bool { return f.count(kvstore.Snapshot) > 0 })
	return f
}

func (f *follower) apply(step kvstore.Step, err error) {
	f.mu.Lock()
	if err != nil {
		f.err = err
		f.t.Errorf("the watch ended: %v", err)
		f.mu.Unlock()
		return
	}
	f.check(step)
	if step.Kind == kvstore.Snapshot {
		clear(f.entries)
	}
	for _, e := range step.Entries {
		f.entries[e.Key] = e
	}
	f.revision, f.log = step.Revision, step.Log
	f.steps = append(f.steps, step)
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (f *follower) check(step kvstore.Step) {
	if step.Kind == kvstore.Snapshot {
		seen := make(map[string]bool)
		for _, e := range step.Entries {
			if seen[e.Key] {
				f.t.Errorf("%q is twice in a snapshot", e.Key)
			}
			seen[e.Key] = true
			if e.Revision > step.Revision || e.Revision == 0 {
				f.t.Errorf("entry at %d in a snapshot at %d", e.Revision, step.Revision)
			}
			if old, had := f.entries[e.Key]; had && step.Log == f.log && old.Revision > e.Revision {
				f.t.Errorf("%q went back from %d to %d", e.Key, old.Revision, e.Revision)
			}
		}
		if step.Log == f.log && step.Revision < f.revision {
			f.t.Errorf("a snapshot at %d after %d", step.Revision, f.revision)
		}
		return
	}
	if len(f.steps) == 0 {
		f.t.Error("the first step is no snapshot")
	}
	if step.Log != f.log {
		f.t.Errorf("an append of log %q after log %q", step.Log, f.log)
	}
	if f.prefix == "" {
		for i, e := range step.Entries {
			if e.Revision != f.revision+1+kvstore.Revision(i) {
				f.t.Errorf("revision %d after %d", e.Revision, f.revision+kvstore.Revision(i))
			}
		}
		if n := len(step.Entries); n == 0 || step.Entries[n-1].Revision != step.Revision {
			f.t.Errorf("an append of %d entries at %d", n, step.Revision)
		}
	}
	if step.Revision <= f.revision {
		f.t.Errorf("step at %d after %d", step.Revision, f.revision)
	}
}

// shut makes the reader wait after its next step; open lets it go on.
func (f *follower) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = make(chan struct{})
}

func (f *follower) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gate != nil {
		close(f.gate)
		f.gate = nil
	}
}

// reach waits until everything up to rev was applied.
func (f *follower) reach(rev kvstore.Revision) {
	f.t.Helper()
	eventually(f.t, patience, "the watch comes to the revision", func() bool { return f.at() >= rev })
}

func (f *follower) at() kvstore.Revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.revision
}

func (f *follower) entry(key string) kvstore.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.entries[key]
}

func (f *follower) state() map[string]kvstore.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.entries)
}

// count is how many steps of a kind came.
func (f *follower) count(kind kvstore.StepKind) int {
	n := 0
	for _, step := range f.all() {
		if step.Kind == kind {
			n++
		}
	}
	return n
}

func (f *follower) all() []kvstore.Step {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.steps)
}

// last is the newest step.
func (f *follower) last() kvstore.Step {
	steps := f.all()
	return steps[len(steps)-1]
}
