package bench

import "golang.org/x/sys/unix"

// mono reads the clock that all processes of a machine share, in nanoseconds. The time of day may be stepped, and Go shows its own monotonic readings to no other
// process.
func mono() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // the clock exists on every Linux
	}
	return t.Nano()
}
