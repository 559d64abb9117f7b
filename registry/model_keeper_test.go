package registry

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// What the model of the pulse has shown, on the keeper itself.

// handClock stands until it is set.
type handClock struct{ now time.Duration }

func (c *handClock) Boot() time.Duration { return c.now }
func (c *handClock) Wall() time.Time     { return time.Unix(1, 0).Add(c.now) }

// heldKeeper is a keeper without its goroutine and without a follower: the test tells it the steps of a log, and takes its turns.
func heldKeeper(t *testing.T) (k *keeper, clock *handClock, l *logbook) {
	clock, l = &handClock{now: time.Hour}, newLogbook("log")
	r := &Registry{
		store: kvstore.NewMemory(nil), clock: clock, log: slog.New(slog.DiscardHandler), process: "me", role: Candidate, view: newView(),
		check: make(chan kvstore.Check, 1), timing: timing{ttl: 6 * time.Second, pulse: time.Second}, ctx: t.Context(),
	}
	r.keeper = newKeeper(r)
	r.view.apply(l.snapshot())
	return r.keeper, clock, l
}

// work runs what is queued, as the keeper's goroutine does.
func (k *keeper) work() {
	for _, fn := range k.drain() {
		fn()
	}
}

func leaseChange(session, process string, revision kvstore.Revision) change {
	return change{key: leaseKey(session), new: decode(kvstore.Entry{Key: leaseKey(session), Revision: revision,
		Value: encode(leaseRecord{Lease: Lease{Session: session, Process: process}, V: recordVersion})})}
}

// An answer to an extra pulse, which came after the roll call, says that the session lives; it is no answer to the roll call: the owner may
// answer that one much later, unheard, and would count its validity from there.
func TestAnswerToExtraPulseIsNoAnswerToRollCall(t *testing.T) {
	k, _, _ := heldKeeper(t)
	k.onLease(leaseChange("S", "P", 1), 0)
	k.holding, k.roll, k.last = true, 5, 7
	for _, c := range []struct {
		pulse kvstore.Revision
		heard bool
		want  []string
	}{{7, true, []string{"S"}}, {4, false, []string{"S"}}, {8, false, []string{"S"}}, {5, true, nil}} {
		t.Run(fmt.Sprint(c.pulse), func(t *testing.T) {
			st := k.sessions["S"]
			st.heard, st.unanswered, st.answered = 0, 3, 0
			k.take(answer{Pulse: c.pulse, Process: "P", Sessions: []string{"S"}})
			k.work()
			if (st.heard != 0) != c.heard || (st.unanswered == 0) != c.heard {
				t.Errorf("heard at %v with %d unanswered, want heard: %v", st.heard, st.unanswered, c.heard)
			}
			if _, missing := k.missed(); !slices.Equal(missing, c.want) {
				t.Errorf("missing %v, want %v", missing, c.want)
			}
		})
	}
	k.take(answer{Pulse: 7, Process: "P", Sessions: []string{"S"}}) // after the one to the roll call
	if k.work(); k.sessions["S"].answered != 5 {
		t.Error("an answer to an extra pulse took the one to the roll call away")
	}
}

// The keeper's clocks never go back: work that waited in the queue while the keeper took the pulse over is older than the taking over.
func TestKeeperClocksDoNotGoBack(t *testing.T) {
	k, clock, _ := heldKeeper(t)
	k.onLease(leaseChange("S", "P", 1), 0)
	st := k.sessions["S"]
	k.holding, k.roll, k.last, st.heard = true, 5, 5, clock.now
	k.onLease(leaseChange("S", "P", 3), clock.now-time.Second)
	if st.heard != clock.now {
		t.Errorf("a lease that was applied earlier set the clock of silence back by %v", clock.now-st.heard)
	}
	k.take(answer{Pulse: 5, Process: "P", Sessions: []string{"S"}})
	st.heard = clock.now + time.Second
	k.work()
	if st.heard != clock.now+time.Second {
		t.Errorf("an answer that came earlier set the clock of silence back by %v", clock.now+time.Second-st.heard)
	}
}

// The next pulse is built only when the keeper itself, and not only the view, has taken its last one in: a lease that it does not know yet
// would pass as one that has answered.
func TestPulseWaitsForTheKeepersOwnView(t *testing.T) {
	k, clock, l := heldKeeper(t)
	changes, newLog := k.r.view.apply(l.append(putLease("A"))) // somebody, so that the scope has a keeper
	k.onStep(changes, newLog)
	k.work()
	k.holding, k.roll, k.last = true, 3, 3
	step := l.append(putLease("S"), put(keyPulse, encode(&pulse{Keeper: k.r.process})))
	changes, newLog = k.r.view.apply(step) // the follower is here, and has not told the keeper
	k.tailAt, k.wholeAt, k.sweepAt = clock.now+time.Hour, clock.now+time.Hour, clock.now+time.Hour
	if k.turn(); k.nextAt != 0 {
		t.Fatal("a pulse was built without what the view has applied")
	}
	k.onStep(changes, newLog)
	k.work()
	if k.sessions["S"] == nil {
		t.Fatal("the keeper does not know the lease")
	}
	if k.turn(); k.nextAt == 0 {
		t.Fatal("no pulse was built")
	}
}

// A pulse of another that is older than the keeper's own does not overtake it.
func TestOlderPulseDoesNotOvertake(t *testing.T) {
	k, _, l := heldKeeper(t)
	k.holding, k.last = true, 2
	changes, newLog := k.r.view.apply(l.append(put(keyPulse, encode(&pulse{Keeper: "other"}))))
	k.onStep(changes, newLog)
	if k.work(); !k.holding {
		t.Fatal("a pulse from before its own made the keeper resign")
	}
	l.append(put(keyPulse, encode(&pulse{Keeper: k.r.process})))
	changes, newLog = k.r.view.apply(l.append(put(keyPulse, encode(&pulse{Keeper: "other"}))))
	k.onStep(changes, newLog)
	if k.work(); k.holding {
		t.Fatal("a pulse after its own did not make the keeper resign")
	}
}
