package bench

import (
	"math"
	"slices"
	"time"
)

// Distribution is what a set of durations looks like. The zero value is that of none.
type Distribution struct {
	Count int           `json:"count"`
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
	P999  time.Duration `json:"p999"`
	Max   time.Duration `json:"max"`
}

// Distribute sorts samples in place and says what they look like. A percentile is the smallest sample that at least so many per cent of them do not exceed
// (nearest rank), so it is always one that was measured.
func Distribute(samples []time.Duration) Distribution {
	if len(samples) == 0 {
		return Distribution{}
	}
	slices.Sort(samples)
	at := func(p float64) time.Duration {
		return samples[max(0, int(math.Ceil(p*float64(len(samples))))-1)]
	}
	return Distribution{Count: len(samples), P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: samples[len(samples)-1]}
}

// median is the middle one of values, the mean of the middle two where their number is even, and 0 for none. It sorts a copy.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}
