package kvstore

import (
	"strconv"
	"time"
)

// This file holds what happens to a log as a whole: it is made, dropped, or loses a key by hand. Tests of what stands on a
// store use it to see their own code meet these.

// begin makes the log. Its revisions begin above all that any log of this store gave out. The caller holds mu.
func (m *Memory) begin() {
	first := m.first
	if first == 0 {
		first = firstRevision(time.Now())
	}
	m.logs++
	m.log = "memory-" + strconv.Itoa(m.logs)
	m.last = max(first, m.last+1) - 1
	m.resync()
}

// drop forgets the log and all that is in it. The caller holds mu.
func (m *Memory) drop() {
	for key, it := range m.items {
		if it.timer != nil {
			it.timer.Stop()
		}
		delete(m.items, key)
	}
	m.log = ""
	m.resync()
}

// Drop deletes the log, as somebody can delete a bucket: watchers get an empty Snapshot without a log, and the next write makes a
// new log.
func (m *Memory) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop()
}

// Reset deletes the log and makes a new, empty one at once: watchers see one Snapshot of another log.
func (m *Memory) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop()
	m.begin()
}

// Purge removes all trace of a key without an entry, as somebody can do to a bucket by hand: no watcher learns of it before
// its next Snapshot (CheckAll). It reports whether the key was there.
func (m *Memory) Purge(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.items[key]
	if ok && it.timer != nil {
		it.timer.Stop()
	}
	delete(m.items, key)
	return ok
}
