//go:build !linux

package bench

import "time"

// mono reads a clock that all processes of a machine share, in nanoseconds: here the time of day.
func mono() int64 { return time.Now().UnixNano() }
