package kvstore

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// MemoryHistory is a History in the memory of one process.
type MemoryHistory struct {
	opts HistoryOptions

	mu    sync.Mutex
	lines []Line
	bytes int64
	seen  map[string]time.Time // ids within the window
	since time.Time
}

var _ History = (*MemoryHistory)(nil)

// NewMemoryHistory makes an empty history.
func NewMemoryHistory(opts *HistoryOptions) *MemoryHistory {
	return &MemoryHistory{opts: opts.orDefault(), seen: map[string]time.Time{}}
}

// Append implements History.
func (m *MemoryHistory) Append(ctx context.Context, lines []Line) error {
	if err := checkLines(lines); err != nil {
		return err
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.since.IsZero() {
		m.since = now
	}
	for id, at := range m.seen {
		if now.Sub(at) > HistoryWindow {
			delete(m.seen, id)
		}
	}
	for _, l := range lines {
		if _, known := m.seen[l.ID]; known {
			continue
		}
		m.seen[l.ID] = now
		l.Value, l.Time = slices.Clone(l.Value), now
		m.lines = append(m.lines, l)
		m.bytes += size(l)
	}
	m.prune(now)
	return nil
}

func size(l Line) int64 { return int64(len(l.Key) + len(l.ID) + len(l.Value)) }

// prune drops what is too old or too much. The caller holds mu.
func (m *MemoryHistory) prune(now time.Time) {
	n := 0
	for ; n < len(m.lines) && (now.Sub(m.lines[n].Time) > m.opts.MaxAge || m.bytes > m.opts.MaxBytes); n++ {
		m.bytes -= size(m.lines[n])
		m.since = m.lines[n].Time
	}
	m.lines = slices.Delete(m.lines, 0, n)
}

// Read implements History.
func (m *MemoryHistory) Read(ctx context.Context, key string, since time.Time) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		if err := checkContext(ctx); err != nil {
			yield(Line{}, err)
			return
		}
		m.mu.Lock()
		m.prune(time.Now())
		lines := slices.Clone(m.lines)
		m.mu.Unlock()
		for _, l := range lines {
			if (key == "" || l.Key == key) && !l.Time.Before(since) && !yield(l, nil) {
				return
			}
		}
	}
}

// Newest implements History.
func (m *MemoryHistory) Newest(ctx context.Context) ([]Line, error) {
	newest := map[string]Line{}
	for l, err := range m.Read(ctx, "", time.Time{}) {
		if err != nil {
			return nil, err
		}
		newest[l.Key] = l
	}
	out := make([]Line, 0, len(newest))
	for _, l := range newest {
		out = append(out, l)
	}
	return out, nil
}

// Since implements History.
func (m *MemoryHistory) Since(ctx context.Context) (time.Time, bool, error) {
	if err := checkContext(ctx); err != nil {
		return time.Time{}, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(time.Now())
	return m.since, !m.since.IsZero(), nil
}
