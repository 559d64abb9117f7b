//go:build linux

package faults

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time on the one clock of all records, in nanoseconds since the machine was started.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // every Linux has it
	}
	return ts.Nano()
}

// Skew is a clock that goes wrong: its rate differs from the machine's, and its wall clock is off. The machine's own clock is left alone.
type Skew struct {
	rate  float64       // 1 is right; 0.97 is slow
	off   time.Duration // added to the time of day
	start int64
	wall  time.Time
}

// NewSkew starts a clock that is right at this moment, but for its wall clock, which is off by wall.
func NewSkew(rate float64, wall time.Duration) *Skew {
	return &Skew{rate: rate, off: wall, start: Now(), wall: time.Now()}
}

func (s *Skew) run() time.Duration { return time.Duration(float64(Now()-s.start) * s.rate) }

// Boot is the time since some fixed moment.
func (s *Skew) Boot() time.Duration { return time.Duration(s.start) + s.run() }

// Wall is the time of day that this clock shows.
func (s *Skew) Wall() time.Time { return s.wall.Add(s.run()).Add(s.off) }
