//go:build linux

package faults

import (
	"slices"
	"time"
)

// After says, for each fault and client, how long after its beginning the first claim that began after it was acknowledged; and what was the longest time
// between two reads of one process.
func (h *History) After(spans []Span) (resumed []time.Duration, stalled time.Duration) {
	last := map[string]int64{}
	for _, r := range h.Records {
		if r.What == WCall && r.Do == DoCached && r.OK {
			if at, ok := last[r.Process]; ok {
				stalled = max(stalled, time.Duration(r.Ret-at))
			}
			last[r.Process] = r.Ret
		}
	}
	for _, s := range spans {
		first := map[string]int64{}
		for _, r := range h.Records {
			if r.What != WCall || !r.OK || r.At < s.From || r.Do != DoRegister && r.Do != DoReplace {
				continue
			}
			if at, ok := first[r.Process]; !ok || r.Ret < at {
				first[r.Process] = r.Ret
			}
		}
		for _, at := range first {
			resumed = append(resumed, time.Duration(at-s.From))
		}
	}
	return resumed, stalled
}

// Quantile is a value of which that part of all values is not larger; 0 of none.
func Quantile(all []time.Duration, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(float64(len(sorted))*part), len(sorted)-1)]
}
