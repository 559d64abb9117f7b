//go:build !linux

package registry

import "time"

// Boot is the time since this process started. On systems where it stands still during sleep, the wall clock is the larger.
func (systemClock) Boot() time.Duration { return time.Since(processStart) }

var processStart = time.Now()
