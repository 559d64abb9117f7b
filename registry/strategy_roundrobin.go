package registry

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/toolbus/toolbus/kvstore"
)

// RoundRobin takes one member of a group after the other, from the oldest to the youngest and over again. It remembers for each group who was last,
// not a number, so that nobody is passed over or taken twice when others join or leave. Each process that chooses has turns of its own.
func RoundRobin() Strategy { return &roundRobin{last: map[string]*atomic.Uint64{}} }

type roundRobin struct {
	mu   sync.RWMutex
	last map[string]*atomic.Uint64 // group: the token of who was taken last
}

// Choose takes the next one.
func (s *roundRobin) Choose(c Choice) int {
	last := s.of(c.Group)
	for {
		was := last.Load()
		next := sort.Search(len(c.Members), func(i int) bool { return c.Members[i].Token > kvstore.Revision(was) })
		if next == len(c.Members) {
			next = 0
		}
		if last.CompareAndSwap(was, uint64(c.Members[next].Token)) {
			return next
		}
	}
}

func (s *roundRobin) of(group string) *atomic.Uint64 {
	s.mu.RLock()
	last := s.last[group]
	s.mu.RUnlock()
	if last != nil {
		return last
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last[group] == nil {
		s.last[group] = new(atomic.Uint64)
	}
	return s.last[group]
}
