package bench

import (
	"context"
	"time"
)

// Question is one thing that people choose by, measured in one or several cases.
type Question struct {
	Name  string // one word, by which it is asked for
	Text  string // the question, as a sentence
	Cases []Case
}

// Case is one measurement: the same work, done by several systems side by side.
type Case struct {
	Name    string
	Work    string // what one operation is
	Rounds  int    // how often each system is asked in one run; 0: as often as the run says
	Systems []System
}

// System is one of those that are compared in a case.
type System struct {
	Name  string
	Floor bool // not a system that does the work, but the least that the work could cost
	// Start prepares the system and returns what does one round of the work. What it started belongs to the lab and ends with it. A system that is not on this
	// machine returns an error that is ErrMissing: its line then says so, and no figure.
	Start func(ctx context.Context, lab *Lab) (Round, error)
}

// Round does the work of a case once, some hundreds or thousands of operations.
type Round func(ctx context.Context) (Measured, error)

// Measured is what one round did.
type Measured struct {
	Samples []time.Duration // how long each operation took; none where the operations cannot be told apart
	Ops     int             // operations; 0: as many as there are samples
	Elapsed time.Duration   // all of them together; 0: the sum of the samples
	CPU     time.Duration   // spent by all processes; 0: the lab counts its processes
	// Values are further figures of the round, by name and unit ("B/name").
	Values map[string]float64
}

func (m Measured) ops() int {
	if m.Ops != 0 {
		return m.Ops
	}
	return len(m.Samples)
}

func (m Measured) elapsed() (sum time.Duration) {
	if m.Elapsed != 0 {
		return m.Elapsed
	}
	for _, s := range m.Samples {
		sum += s
	}
	return sum
}

// With adds systems to the cases of questions that they name ("register/one by one"). It says which names it does not know.
func With(questions []Question, more map[string][]System) (unknown []string) {
	known := map[string]bool{}
	for _, q := range questions {
		for i := range q.Cases {
			key := q.Name + "/" + q.Cases[i].Name
			known[key] = true
			q.Cases[i].Systems = append(q.Cases[i].Systems, more[key]...)
		}
	}
	for key := range more {
		if !known[key] {
			unknown = append(unknown, key)
		}
	}
	return unknown
}

// Questions are all that is measured here, in the order of the report.
func Questions() []Question {
	return []Question{
		floorQuestion(),
		registerQuestion(),
		contendQuestion(),
		lookupQuestion(),
		groupQuestion(),
		watchQuestion(),
		goneQuestion(),
		writesQuestion(),
		joinQuestion(),
		callQuestion(),
		pathQuestion(),
		idleQuestion(),
	}
}
