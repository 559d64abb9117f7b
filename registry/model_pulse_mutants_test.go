package registry

import "testing"

// pulseBounds are what one exploration of the pulse covers. Together they go wide (many writes under way, refreshes, an expiring pulse, questions
// to others), deep (a longer log) and through clocks that differ. The larger bounds add an entry to the log.
var pulseBounds = map[string]pulseRules{
	"strict, writes under way":     {strict: true, ttl: 2, most: 5, flight: 2, attempts: 2},
	"strict, refreshes":            {strict: true, ttl: 2, most: 5, flight: 1, attempts: 3},
	"strict, questions to others":  {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, others: true},
	"strict, the pulse expires":    {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, expires: 1},
	"strict, a slow clock":         {strict: true, ttl: 3, margin: 1, slow: 1, most: 5, flight: 1, attempts: 2},
	"strict, a longer log":         {strict: true, ttl: 2, most: 7, flight: 1, attempts: 1},
	"service, refreshes":           {ttl: 2, most: 5, flight: 1, attempts: 2},
	"service, questions to others": {ttl: 2, most: 5, flight: 1, attempts: 1, others: true},
	"service, the pulse expires":   {ttl: 2, most: 5, flight: 1, attempts: 1, expires: 1},
	"service, a slow clock":        {ttl: 3, margin: 1, slow: 1, most: 5, flight: 1, attempts: 1},
}

// TestModelPulse explores validity and verdicts as they are.
func TestModelPulse(t *testing.T) {
	for what, r := range pulseBounds {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if exploreLong {
				r.most++
			} else if exploreSlow || testing.Short() {
				r.most--
			}
			exploreRules(t, &r, r.start(), 1<<30, 20_000)
		})
	}
}

// pulseMutants take one rule out each, in bounds in which that shows soon.
var pulseMutants = map[string]pulseRules{
	"validity counts from the receipt":                     {strict: true, ttl: 2, most: 5, flight: 1, attempts: 1, fromReceipt: true},
	"an answer does not name its pulse":                    {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, unnamedAnswers: true},
	"an answer to an extra pulse counts for the roll call": {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, others: true, anyAnswer: true},
	"a new keeper goes on with old clocks":                 {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, oldClocks: true},
	"a verdict goes beside the pulse":                      {strict: true, ttl: 2, most: 5, flight: 1, attempts: 1, bareVerdict: true},
	"a verdict does not look at the lease's revision":      {strict: true, ttl: 2, most: 5, flight: 1, attempts: 2, unguarded: true},
	"a verdict on evidence is guarded by what is newest":   {ttl: 2, most: 5, flight: 1, attempts: 2, newestGuard: true},
	"a refresh counts as an answer":                        {strict: true, ttl: 2, most: 6, flight: 1, attempts: 2, refreshAnswers: true},
	"a pulse is built before the last one was applied":     {strict: true, ttl: 2, most: 5, flight: 1, attempts: 1, deaf: true},
	"a listed owner believes all the same":                 {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, ignoresListing: true},
	"any write of the lease confirms the newest attempt":   {strict: true, ttl: 2, most: 4, flight: 2, attempts: 3, anyAttempt: true},
	"an owner goes on after it has sent the end":           {strict: true, ttl: 2, most: 4, flight: 1, attempts: 1, believesEnding: true},
	"a first pulse reports the roll call of another":       {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, firstReports: true},
	"an owner answers calls older than its lease":          {strict: true, ttl: 2, most: 6, flight: 1, attempts: 1, vouchesForYoung: true},
	"no margin for a slow clock":                           {strict: true, ttl: 3, slow: 1, most: 4, flight: 1, attempts: 1},
	"a clock slower than the margin":                       {strict: true, ttl: 3, margin: 1, slow: 2, most: 4, flight: 1, attempts: 1},
	"a verdict is guarded by the first revision":           {strict: true, ttl: 2, most: 4, flight: 1, attempts: 2, firstGuard: true},
	"nobody takes the pulse over":                          {strict: true, ttl: 2, most: 5, flight: 1, attempts: 1, expires: 1, nobodyFollows: true},
	"validity from the receipt, in service mode":           {ttl: 2, most: 5, flight: 1, attempts: 1, fromReceipt: true},
}

func TestModelPulseMutants(t *testing.T) {
	for what, r := range pulseMutants {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			exploreMutant(t, &r, r.start(), 1<<30)
		})
	}
}
