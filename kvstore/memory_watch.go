package kvstore

import (
	"context"
	"iter"
	"maps"
	"strings"
)

// watchBuffer is how many steps a watch keeps for a slow reader before it drops them all for one Snapshot.
const watchBuffer = 1024

// memoryWatcher is one running Watch. Its fields are guarded by the store's mutex; only wake is not.
type memoryWatcher struct {
	prefix string
	steps  []Step
	resync bool          // steps were dropped, or nothing was handed out yet: the next step is a Snapshot
	wake   chan struct{} // holds one token when there is something new
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context, opts *WatchOptions) iter.Seq2[Step, error] {
	if opts == nil {
		opts = &WatchOptions{}
	}
	return func(yield func(Step, error) bool) {
		w := &memoryWatcher{prefix: opts.Prefix, resync: true, wake: make(chan struct{}, 1)}
		m.mu.Lock()
		m.watchers[w] = struct{}{}
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.watchers, w)
		}()
		checks := opts.Check
		for ctx.Err() == nil {
			if step, ok := m.next(w); ok {
				if !yield(step, nil) {
					return
				}
				select { // a reader that is always behind must not starve its own checks
				case c, open := <-checks:
					checks = m.checked(w, checks, c, open)
				default:
				}
				continue
			}
			select {
			case <-ctx.Done():
			case <-w.wake:
			case c, open := <-checks:
				checks = m.checked(w, checks, c, open)
			}
		}
	}
}

// checked answers what came on the channel of checks, and returns the channel, or nil when it was closed.
func (m *Memory) checked(w *memoryWatcher, checks <-chan Check, c Check, open bool) <-chan Check {
	if !open {
		return nil
	}
	if drainChecks(checks, c) == CheckAll {
		m.check(w)
	}
	return checks
}

// drainChecks makes one check of all that wait.
func drainChecks(checks <-chan Check, c Check) Check {
	for {
		select {
		case more, open := <-checks:
			if !open {
				return c
			}
			c = max(c, more)
		default:
			return c
		}
	}
}

// next takes the next step of a watcher.
func (m *Memory) next(w *memoryWatcher) (Step, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.resync {
		w.resync = false
		w.steps = nil
		return m.snapshot(w.prefix), true
	}
	if len(w.steps) == 0 {
		return Step{}, false
	}
	step := w.steps[0]
	w.steps[0] = Step{}
	w.steps = w.steps[1:]
	return step, true
}

// check puts a snapshot behind the steps that wait; nothing can be lost here, so a look at the tail finds nothing.
func (m *Memory) check(w *memoryWatcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.push(m.snapshot(w.prefix))
}

// snapshot is the state as one step. The caller holds mu.
func (m *Memory) snapshot(prefix string) Step {
	if m.log == "" {
		return Step{Kind: Snapshot}
	}
	step := Step{Kind: Snapshot, Revision: m.last, Log: m.log, Metadata: maps.Clone(m.metadata)}
	step.Entries = make([]Entry, 0, len(m.items))
	for key, it := range m.items {
		if strings.HasPrefix(key, prefix) {
			step.Entries = append(step.Entries, it.entry)
		}
	}
	return step
}

// tell hands an Append to every watcher. The caller holds mu.
func (m *Memory) tell(entries []Entry) {
	for w := range m.watchers {
		w.push(Step{Kind: Append, Entries: withPrefix(entries, w.prefix), Revision: m.last, Log: m.log})
	}
}

// resync makes a Snapshot the next step of every watcher. The caller holds mu.
func (m *Memory) resync() {
	for w := range m.watchers {
		w.resync = true
		w.steps = nil
		w.signal()
	}
}

func (w *memoryWatcher) push(step Step) {
	switch {
	case w.resync: // the snapshot to come has it
	case len(w.steps) == watchBuffer:
		w.resync = true
		w.steps = nil
	default:
		w.steps = append(w.steps, step)
	}
	w.signal()
}

func (w *memoryWatcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// withPrefix leaves the entries whose key begins with prefix.
func withPrefix(entries []Entry, prefix string) []Entry {
	if prefix == "" {
		return entries
	}
	var kept []Entry
	for _, e := range entries {
		if strings.HasPrefix(e.Key, prefix) {
			kept = append(kept, e)
		}
	}
	return kept
}
