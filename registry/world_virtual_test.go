package registry_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// The virtual tests play a scope in a bubble: time is its own, so that bounds can be tight, and what took a minute takes milliseconds.

const virtualTTL = 6 * time.Second

// inWorld runs a test in a world of its own.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, virtualTTL)) })
}

// world is a scope whose log is written down.
type world struct {
	*registrytest.World
	mu      sync.Mutex
	entries []logged
}

// logged is an entry of the log and when it was written.
type logged struct {
	kvstore.Entry
	at time.Time
}

// beat is a pulse as the log has it.
type beat struct {
	Keeper, Node  string
	Role          registry.Role
	Extra, All    bool
	Roll          kvstore.Revision
	Leases        int
	Answered      int
	Missing       []string
	Suspects      []string
	Ended         map[string]registry.Reason
	revision      kvstore.Revision
	at            time.Time
	sinceLastBeat time.Duration
}

func newWorld(t *testing.T, ttl time.Duration) *world {
	w := &world{World: registrytest.NewWorld(ttl)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for step, err := range w.Log.Watch(ctx, nil) {
			if err != nil {
				t.Error(err)
				return
			}
			w.mu.Lock()
			for _, e := range step.Entries {
				w.entries = append(w.entries, logged{e, time.Now()})
			}
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// written returns the entries so far whose key begins so.
func (w *world) written(prefix string) []logged {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.entries), func(e logged) bool { return !strings.HasPrefix(e.Key, prefix) })
}

// pulses returns the pulses since a moment.
func (w *world) pulses(t *testing.T, since time.Time) []beat {
	t.Helper()
	var out []beat
	last := since
	for _, e := range w.written("pulse") {
		if e.Tombstone() || e.at.Before(since) {
			continue
		}
		b := beat{revision: e.Revision, at: e.at, sinceLastBeat: e.at.Sub(last)}
		if err := json.Unmarshal(e.Value, &b); err != nil {
			t.Fatal(err)
		}
		out, last = append(out, b), e.at
	}
	return out
}

// lastPulse is the newest.
func (w *world) lastPulse(t *testing.T) beat {
	t.Helper()
	all := w.pulses(t, time.Time{})
	if len(all) == 0 {
		t.Fatal("no pulse")
	}
	return all[len(all)-1]
}

// settle lets the scope find its keeper and hear some roll calls.
func settle() { time.Sleep(5 * time.Second) }

// own opens a session on p that holds a name.
func own(t *testing.T, p *registrytest.Process, mode registry.Mode, name string) *registry.Registration {
	t.Helper()
	s, err := p.NewSession(t.Context(), &registry.SessionOptions{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := s.Register(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// end is how a session ended, in the eyes of somebody else.
type end struct {
	after  time.Duration
	reason registry.Reason
}

// endOf waits for the end of a registration's session in the view of p, for d at most; it reports how long it took from began on.
func endOf(t *testing.T, p *registrytest.Process, reg *registry.Registration, began time.Time, d time.Duration) (end, bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	down, err := p.MonitorSession(ctx, reg.Session().ID())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-down:
		return end{time.Since(began), got.Reason}, true
	case <-time.After(d):
		return end{}, false
	}
}

// wantEnd is endOf with bounds.
func wantEnd(t *testing.T, p *registrytest.Process, reg *registry.Registration, began time.Time, least, most time.Duration, reason registry.Reason) {
	t.Helper()
	got, ended := endOf(t, p, reg, began, most+time.Minute)
	switch {
	case !ended:
		t.Fatalf("it has not ended; %v is the bound", most)
	case got.after < least || got.after > most || got.reason != reason:
		t.Fatalf("ended after %v: %q; want %v to %v, %q", got.after, got.reason, least, most, reason)
	}
	t.Logf("%s: ended after %v (%v to %v)", reason, got.after, least, most)
}

// wantAlive checks that a registration stands and serves for so long, at every moment of it.
func wantAlive(t *testing.T, d time.Duration, regs ...*registry.Registration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, reg := range regs {
			if reg.Err() != nil || !reg.Serving() {
				t.Fatalf("%s: %v, serving %v", reg.Name(), reg.Err(), reg.Serving())
			}
		}
	}
}

// toKeeper tells whether a message is an answer to the roll call.
func toKeeper(subject string) bool { return strings.Contains(subject, ".keeper.") }

// lease reads a lease's record from the log.
func (w *world) lease(t *testing.T, session string) kvstore.Entry {
	t.Helper()
	e, err := w.Log.Get(t.Context(), "leases."+session)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
