package kvstore

import (
	"context"
	"math/big"
	"sync"
)

// MemoryCounters are Counters in the memory of one process. The zero value is ready to use.
type MemoryCounters struct {
	mu   sync.Mutex
	sums map[string]*big.Int
}

var _ Counters = (*MemoryCounters)(nil)

// Add implements Counters.
func (m *MemoryCounters) Add(ctx context.Context, key string, delta int64) (int64, error) {
	if err := CheckKey(key); err != nil {
		return 0, err
	}
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sums == nil {
		m.sums = map[string]*big.Int{}
	}
	sum := m.sums[key]
	if sum == nil {
		sum = new(big.Int)
		m.sums[key] = sum
	}
	return inRange(key, sum.Add(sum, big.NewInt(delta)))
}

// Get implements Counters.
func (m *MemoryCounters) Get(ctx context.Context, key string) (int64, error) {
	if err := CheckKey(key); err != nil {
		return 0, err
	}
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if sum := m.sums[key]; sum != nil {
		return inRange(key, sum)
	}
	return 0, nil
}

// List implements Counters.
func (m *MemoryCounters) List(ctx context.Context, pattern string) (map[string]int64, error) {
	if err := CheckPattern(pattern); err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]int64{}
	for key, sum := range m.sums {
		if !matches(pattern, key) {
			continue
		}
		v, err := inRange(key, sum)
		if err != nil {
			return nil, err
		}
		out[key] = v
	}
	return out, nil
}

// Purge implements Counters.
func (m *MemoryCounters) Purge(ctx context.Context, pattern string) error {
	if err := CheckPattern(pattern); err != nil {
		return err
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.sums {
		if matches(pattern, key) {
			delete(m.sums, key)
		}
	}
	return nil
}
