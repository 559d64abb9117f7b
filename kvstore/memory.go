package kvstore

import (
	"context"
	"fmt"
	"maps"
	"sort"
	"strings"
	"sync"
	"time"
)

// MemoryOptions say how a Memory begins; nil works.
type MemoryOptions struct {
	// Metadata is what watchers get beside each Snapshot.
	Metadata map[string]string
	// FirstRevision is where the log begins; 0 is the Unix time in milliseconds, times 1000.
	FirstRevision Revision
}

// Memory is a Store in the memory of one process, for tests and for a registry that needs no cluster. It keeps the whole contract:
// the first write makes the log, TTLs and tombstones end by themselves, a slow watcher gets a Snapshot. It has no goroutine of its
// own and needs no Close; inside a testing/synctest bubble it runs on the bubble's clock.
type Memory struct {
	mu       sync.Mutex
	metadata map[string]string
	first    Revision
	log      string // "" until the first write
	logs     int
	last     Revision
	items    map[string]*item
	watchers map[*memoryWatcher]struct{}
}

type item struct {
	entry Entry
	timer *time.Timer // the end of its TTL or of the tombstone; nil for neither
}

var _ Store = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory(opts *MemoryOptions) *Memory {
	if opts == nil {
		opts = &MemoryOptions{}
	}
	return &Memory{
		metadata: maps.Clone(opts.Metadata),
		first:    opts.FirstRevision,
		items:    make(map[string]*item),
		watchers: make(map[*memoryWatcher]struct{}),
	}
}

// Create implements Store.
func (m *Memory) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (Revision, error) {
	if err := checkWrite(key, value, ttl); err != nil {
		return 0, err
	}
	return m.write(ctx, []Op{{Key: key, Value: value, TTL: ttl}})
}

// Update implements Store.
func (m *Memory) Update(ctx context.Context, key string, value []byte, rev Revision, ttl time.Duration) (Revision, error) {
	if err := checkRevised(key, value, ttl, rev); err != nil {
		return 0, err
	}
	return m.write(ctx, []Op{{Key: key, Value: value, Revision: rev, TTL: ttl}})
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, key string, value []byte, rev Revision) (Revision, error) {
	if err := checkRevised(key, value, 0, rev); err != nil {
		return 0, err
	}
	return m.write(ctx, []Op{{Key: key, Value: value, Revision: rev, Delete: true}})
}

// Batch implements Store.
func (m *Memory) Batch(ctx context.Context, ops []Op) (Revision, error) {
	if err := checkBatch(ops); err != nil {
		return 0, err
	}
	return m.write(ctx, ops)
}

// Barrier implements Store.
func (m *Memory) Barrier(ctx context.Context) (Revision, error) {
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apply([]Op{{Key: barrierPrefix + "memory", TTL: BarrierTTL}}), nil
}

// Get implements Store.
func (m *Memory) Get(ctx context.Context, key string) (Entry, error) {
	if err := CheckKey(key); err != nil {
		return Entry{}, err
	}
	if err := checkContext(ctx); err != nil {
		return Entry{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.items[key]
	if !ok || it.entry.Tombstone() {
		return Entry{}, fmt.Errorf("%w: %q", ErrNotFound, key)
	}
	return it.entry, nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, prefix string) ([]Entry, Revision, error) {
	if err := checkContext(ctx); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Entry
	for key, it := range m.items {
		if strings.HasPrefix(key, prefix) && !it.entry.Tombstone() {
			list = append(list, it.entry)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	return list, m.last, nil
}

// write checks all ops against what is there, then applies all of them.
func (m *Memory) write(ctx context.Context, ops []Op) (Revision, error) {
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range ops {
		var actual Revision
		if it, ok := m.items[op.Key]; ok {
			actual = it.entry.Revision
		}
		if actual != op.Revision {
			return 0, &ConflictError{Key: op.Key, Expected: op.Revision, Actual: actual}
		}
	}
	return m.apply(ops), nil
}

// apply writes the ops, makes the log if there is none, and tells the watchers. The caller holds mu.
func (m *Memory) apply(ops []Op) Revision {
	if m.log == "" {
		m.begin()
	}
	now := time.Now()
	entries := make([]Entry, len(ops))
	for i, op := range ops {
		m.last++
		e := Entry{Key: op.Key, Revision: m.last, Time: now, Value: append([]byte(nil), op.Value...)}
		ttl := wholeSeconds(op.TTL)
		if op.Delete {
			e.Operation, ttl = Delete, TombstoneTTL
		}
		m.put(e, ttl)
		entries[i] = e
	}
	m.tell(entries)
	return m.last
}

// put replaces the item of a key and starts its timer. The caller holds mu.
func (m *Memory) put(e Entry, ttl time.Duration) {
	if old, ok := m.items[e.Key]; ok && old.timer != nil {
		old.timer.Stop()
	}
	it := &item{entry: e}
	if ttl > 0 {
		it.timer = time.AfterFunc(ttl, func() { m.expire(e.Key, it) })
	}
	m.items[e.Key] = it
}

// expire ends one item, unless a write was faster: a stopped timer may be running already.
func (m *Memory) expire(key string, it *item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.items[key] != it {
		return
	}
	if it.entry.Tombstone() {
		delete(m.items, key)
		return
	}
	m.last++
	e := Entry{Key: key, Revision: m.last, Operation: Expire, Time: time.Now()}
	m.put(e, TombstoneTTL)
	m.tell([]Entry{e})
}
