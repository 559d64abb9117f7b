package registry

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// LoadKey is the metadata in which a member says how busy it is, as a number; Membership.Update changes it.
const LoadKey = "load"

// LeastBusy takes the member with the least load; of several with the least, any. What load is, load says, and so knows: a caller that counts its own calls
// in flight gives a function that reads the count. With nil it is what the member said last under LoadKey, 0 where it said nothing that is a number. Each claim in force
// on the member's instance counts as one more.
//
// The view knows no calls in flight, and what a member says is as old as its last update, which is a write to the log: it is for load that changes in
// seconds, not in milliseconds. Many who choose by the same old numbers choose the same member; Random is better then.
func LeastBusy(load func(Member) float64) Strategy {
	if load == nil {
		load = reportedLoad
	}
	return leastBusy{load}
}

type leastBusy struct{ load func(Member) float64 }

// Choose takes one of those with the least load.
func (s leastBusy) Choose(c Choice) int {
	best, least, equal := 0, 0.0, 0
	for i := range c.Members {
		load := s.load(c.Members[i]) + float64(c.Claims(i))
		if math.IsNaN(load) {
			load = math.Inf(1)
		}
		switch {
		case i == 0 || load < least:
			best, least, equal = i, load, 1
		case load == least:
			if equal++; rand.IntN(equal) == 0 {
				best = i
			}
		}
	}
	return best
}

func reportedLoad(m Member) float64 {
	text := m.Metadata[LoadKey]
	if text == "" {
		return 0
	}
	load, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(load) {
		return 0
	}
	return load
}
