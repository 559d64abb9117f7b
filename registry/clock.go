package registry

import "time"

// Clock is the time of one machine, read twice. Owners take as elapsed the larger of the two, the keeper the boot time; clocks of two machines
// are never compared.
type Clock interface {
	// Boot is the time since some fixed moment, and goes on while the machine sleeps.
	Boot() time.Duration
	// Wall is the time of day, which somebody may set.
	Wall() time.Time
}

// moment is one reading of a clock.
type moment struct {
	boot time.Duration
	wall time.Time
}

func (m moment) zero() bool { return m.wall.IsZero() }

// read takes a reading.
func read(c Clock) moment { return moment{boot: c.Boot(), wall: c.Wall().Round(0)} }

// elapsed is how long ago m was, at the most.
func elapsed(c Clock, m moment) time.Duration {
	return max(c.Boot()-m.boot, c.Wall().Round(0).Sub(m.wall))
}

// after tells whether m was read later than o.
func (m moment) after(o moment) bool { return o.zero() || m.boot > o.boot }

// systemClock is the machine's.
type systemClock struct{}

// Wall is the time of day.
func (systemClock) Wall() time.Time { return time.Now() }
