package registrytest

import (
	"sync"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// Clock is one machine's: it follows the time of the bubble around it, or the real one, and can be set wrong. Its methods may be called concurrently.
type Clock struct {
	mu         sync.Mutex
	start      time.Time
	boot, wall time.Duration
}

var _ registry.Clock = (*Clock)(nil)

// NewClock makes a clock whose time of day is wrong by skew.
func NewClock(skew time.Duration) *Clock { return &Clock{start: time.Now(), wall: skew} }

// Boot implements registry.Clock.
func (c *Clock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Hour + time.Since(c.start) + c.boot
}

// Wall implements registry.Clock.
func (c *Clock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.wall)
}

// Set moves the time of day by d, as somebody with a watch may.
func (c *Clock) Set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += d
}

// Sleep moves both by d: the machine slept, and its programs with it.
func (c *Clock) Sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += d
	c.boot += d
}
