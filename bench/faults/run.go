//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// RunConfig describes one seeded run.
type RunConfig struct {
	Seed   uint64
	Dir    string // of the run: emptied by nobody; a failing run's is worth keeping
	Faults int    // how many; 0 is 7
	Log    func(format string, args ...any)
}

// Result says what a run was.
type Result struct {
	Seed     uint64        `json:"seed"`
	Faults   []string      `json:"faults"`
	Took     time.Duration `json:"took"`
	Ops      int           `json:"ops"`      // calls that returned or not
	Writes   int           `json:"writes"`   // of them
	During   int           `json:"during"`   // of them, calls that overlap a fault
	Acked    int           `json:"acked"`    // claims
	Overlaps int           `json:"overlaps"` // of service sessions: allowed, and bounded
	Healed   time.Duration `json:"healed"`   // until all views agreed and nothing was left of the dead
	Found    []string      `json:"found,omitempty"`
}

// Timing of a run's scope.
const (
	runTTL   = 4 * time.Second
	runPulse = 500 * time.Millisecond
)

// DefaultWorkload is that of a seeded run: about 150 changes and 400 reads a second.
func DefaultWorkload() Workload {
	return Workload{Workers: 4, Pause: 60 * time.Millisecond, Reads: 12 * time.Millisecond, Names: 6, Strict: 4, Shared: 2, Groups: 2, Deadline: 3 * time.Second}
}

// Run makes one run and checks it. An error says that the harness itself failed, or a process of the run did what none may: end, or hang. What the checkers found is in
// Result.Found.
func Run(ctx context.Context, c RunConfig) (Result, error) {
	began := time.Now()
	if c.Faults == 0 {
		c.Faults = 7
	}
	res := Result{Seed: c.Seed}
	w, err := StartWorld(ctx, WorldConfig{Dir: c.Dir, Seed: c.Seed, Nodes: 3, Clients: 6, TTL: runTTL, Pulse: runPulse, Workload: DefaultWorkload(), Skew: true, Log: c.Log})
	if err != nil {
		return res, fmt.Errorf("start: %w", err)
	}
	defer w.Close()
	w.Log("seed %d: started after %v", c.Seed, time.Since(began).Round(time.Millisecond))
	if err := w.Order(ctx, "go"); err != nil {
		return res, err
	}
	spans, err := w.Inflict(ctx, Schedule(c.Seed, w.Nodes, w.Clients, c.Faults))
	for _, s := range spans {
		res.Faults = append(res.Faults, s.String())
	}
	if err != nil {
		return res, err
	}
	healed := Now()
	pause(ctx, time.Second) // of work on a healthy cluster
	if err := w.Order(ctx, "quiet"); err != nil {
		return res, err
	}
	states, found := w.Converge(ctx, healed)
	res.Healed = time.Duration(Now() - healed)
	if err := w.Stop(ctx); err != nil {
		found = append(found, err.Error())
	}
	h, err := w.History(spans, states)
	if err != nil {
		return res, err
	}
	res.count(h)
	res.Found = append(found, Check(h, &res)...)
	res.Took = time.Since(began)
	return res, nil
}

// Inflict makes faults happen, one after the other or two at a time, and mends them all.
func (w *World) Inflict(ctx context.Context, faults []Fault) ([]Span, error) {
	var mu sync.Mutex
	var spans []Span
	var errs []error
	var under sync.WaitGroup
	for k := 0; k < len(faults); {
		n := 1
		if faults[k].Along && k+1 < len(faults) && along(faults[k], faults[k+1]) {
			n = 2
		}
		for i, f := range faults[k : k+n] {
			if i == 0 {
				pause(ctx, f.After)
			} else {
				pause(ctx, f.After/2)
			}
			s := Span{Kind: f.Kind, From: Now()}
			mend, target, err := w.strike(ctx, f)
			if err != nil {
				return spans, fmt.Errorf("%s: %w", f.Kind, err)
			}
			s.Target = target
			w.Log("  %-14s %-10s for %v", f.Kind, target, f.For)
			under.Go(func() {
				pause(ctx, f.For)
				err := mend()
				s.To = Now()
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					errs = append(errs, fmt.Errorf("%s %s, mended: %w", f.Kind, target, err))
				}
				spans = append(spans, s)
			})
		}
		under.Wait()
		k += n
	}
	w.Net.Heal()
	return spans, errors.Join(errs...)
}

// along tells whether two faults may be there at once: not where both start or stop the same processes.
func along(a, b Fault) bool {
	return !starts(a.Kind) && !starts(b.Kind) && a.Kind != b.Kind && a.Kind != Side && b.Kind != Side
}

// starts tells whether a fault ends nodes or clients, or stops them.
func starts(k Kind) bool {
	switch k {
	case KillNode, KillClient, RestartAll, Rolling, PauseNode, PauseOwner:
		return true
	}
	return false
}

// convergeBound is how long it may take, after the last fault, until nothing is left of the dead: a silent session has a TTL and four pulses from when a keeper is
// there, whose clocks start anew; the rest is for slow machines.
const convergeBound = 2*runTTL + 12*time.Second

// Converge waits until all processes see the same, and nothing but what living sessions hold.
func (w *World) Converge(ctx context.Context, healed int64) (map[string]State, []string) {
	ctx, cancel := context.WithTimeout(ctx, convergeBound+20*time.Second)
	defer cancel()
	for {
		states, err := w.States(ctx)
		if err != nil {
			return states, []string{fmt.Sprintf("a process does not answer after healing: %v", err)}
		}
		wrong := agree(states)
		if len(wrong) == 0 {
			return states, nil
		}
		if Now()-healed > int64(convergeBound) || ctx.Err() != nil {
			return states, wrong
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// agree says what is not as it has to be when nothing happens any more.
func agree(states map[string]State) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	living := map[string]bool{}
	holds := map[string]Seen{}
	for who, s := range states {
		if s.Err != "" {
			say("%s: %s", who, s.Err)
		}
		for _, id := range s.Sessions {
			living[id] = true
		}
		for k, v := range s.Holds {
			holds[k] = v
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	for who, s := range states {
		for name, seen := range s.Names {
			if !living[seen.Session] {
				say("%s sees %s held by %s, who does not live", who, name, seen.Session)
			}
			if _, ok := holds[name+" "+seen.Session]; !ok && !strings.HasPrefix(name, "r") {
				say("%s sees %s held by %s with %d, who knows nothing of it", who, name, seen.Session, seen.Token)
			}
			if f := s.Folded[name]; f != seen {
				say("%s sees %s as %v, its watch told %v", who, name, seen, f)
			}
		}
		for name := range s.Folded {
			if _, ok := s.Names[name]; !ok {
				say("the watch of %s has %s, which is not there", who, name)
			}
		}
		for m := range s.Groups {
			if id := m[strings.IndexByte(m, ' ')+1:]; !living[id] {
				say("%s sees %s, who does not live", who, m)
			}
		}
		for k, v := range holds {
			name := k[:strings.IndexByte(k, ' ')]
			if s.Names[name] != v {
				say("%s holds %s with %d and was told nothing; %s sees %v", v.Session, name, v.Token, who, s.Names[name])
			}
		}
		for _, id := range s.Leases {
			if !living[id] {
				say("%s sees session %s, whose process is gone", who, id)
			}
		}
	}
	for who, s := range states {
		for other, o := range states {
			if fmt.Sprint(s.Names) != fmt.Sprint(o.Names) || fmt.Sprint(s.Groups) != fmt.Sprint(o.Groups) {
				say("%s and %s see different things", who, other)
			}
		}
	}
	return wrong
}

// Save writes what a failing run was beside its journals.
func Save(dir string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "run.json"), data, 0o600)
}
