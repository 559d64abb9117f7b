// Package kvtest is the contract of kvstore.Store as tests: every backend passes the same suite. One file is one chapter.
//
// A new backend is tested by four lines:
//
//	func TestContract(t *testing.T) {
//		kvtest.Run(t, func(t *testing.T) kvstore.Store { return openMine(t) })
//	}
//
// The tests wait for what the contract promises by polling with a deadline. A backend whose clock is testing/synctest's runs in
// bubbles (Suite.In), where the waits take no time.
package kvtest

import (
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// Suite is the contract, to be run on one backend.
type Suite struct {
	// Open makes a store on an empty log that nobody has made yet. It is called once a test, or more often for other logs.
	Open func(t *testing.T) kvstore.Store
	// Again, if set, opens the log of a store a second time, as another process would.
	Again func(t *testing.T, s kvstore.Store) kvstore.Store
	// In, if set, runs each test, for example in a synctest bubble. Else tests run in parallel.
	In func(t *testing.T, test func(t *testing.T))
	// Renew, if set, deletes the log of a store and makes a new one.
	Renew func(t *testing.T, s kvstore.Store)
}

// Run runs the whole contract on the stores that open makes.
func Run(t *testing.T, open func(t *testing.T) kvstore.Store) {
	(&Suite{Open: open}).Run(t)
}

// chapter is one file's tests.
type chapter struct {
	name  string
	tests []test
}

type test struct {
	name string
	run  func(t *testing.T, x *Suite, s kvstore.Store)
}

// Run runs every chapter.
func (x *Suite) Run(t *testing.T) {
	for _, c := range []chapter{writes, ttls, batches, reads, limits, watches, logs, barriers, races} {
		t.Run(c.name, func(t *testing.T) {
			for _, tt := range c.tests {
				t.Run(tt.name, func(t *testing.T) {
					if x.In == nil {
						t.Parallel()
						tt.run(t, x, x.Open(t))
						return
					}
					x.In(t, func(t *testing.T) { tt.run(t, x, x.Open(t)) })
				})
			}
		})
	}
}

// again opens the log a second time, or uses the same store where a backend cannot.
func (x *Suite) again(t *testing.T, s kvstore.Store) kvstore.Store {
	if x.Again == nil {
		return s
	}
	return x.Again(t, s)
}
