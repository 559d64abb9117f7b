//go:build linux

package faults

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// History is all that is known of a run.
type History struct {
	Records []Record // by time
	Marks   map[string][][2]int64
	Spans   []Span           // the faults
	Killed  map[string]int64 // by process id
	Paused  map[string][]Pause
	States  map[string]State // at the end
	TTL     time.Duration
	End     int64
}

// History reads what the processes wrote.
func (w *World) History(spans []Span, states map[string]State) (*History, error) {
	w.mu.Lock()
	h := &History{Spans: spans, Killed: maps.Clone(w.killed), Paused: maps.Clone(w.paused), States: states, TTL: w.TTL, End: Now()}
	w.mu.Unlock()
	return h, errors.Join(h.read(w.Dir), h.Save(w.Dir))
}

// Save writes what is not in the journals beside them, so that LoadHistory has it.
func (h *History) Save(dir string) error {
	c := *h
	c.Records, c.Marks = nil, nil
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "history.json"), data, 0o600)
}

// LoadHistory reads a run's folder.
func LoadHistory(dir string) (*History, error) {
	data, err := os.ReadFile(filepath.Join(dir, "history.json"))
	if err != nil {
		return nil, err
	}
	h := &History{}
	if err := json.Unmarshal(data, h); err != nil {
		return nil, err
	}
	return h, h.read(dir)
}

// read reads the journals and marks.
func (h *History) read(dir string) (err error) {
	if h.Records, err = ReadRecords(dir); err != nil {
		return err
	}
	h.Marks = map[string][][2]int64{}
	slices.SortStableFunc(h.Records, func(a, b Record) int { return cmp.Compare(a.At, b.At) })
	for _, r := range h.Records {
		if r.What != WHold || h.Marks[r.Process] != nil {
			continue
		}
		if h.Marks[r.Process], err = ReadMarks(dir, r.Process); err != nil {
			return err
		}
	}
	return nil
}

// count fills in the numbers of a run.
func (res *Result) count(h *History) {
	for _, r := range h.Records {
		if r.What != WCall {
			continue
		}
		res.Ops++
		switch r.Do {
		case DoCached, DoFresh, DoMembers:
		default:
			res.Writes++
		}
		if r.OK && r.Token != 0 && (r.Do == DoRegister || r.Do == DoReplace) {
			res.Acked++
		}
		for _, s := range h.Spans {
			if r.At <= s.To && r.Ret >= s.From {
				res.During++
				break
			}
		}
	}
}

// Check runs all checkers.
func Check(h *History, res *Result) []string {
	var found []string
	for _, c := range []struct {
		name string
		run  func(*History) []string
	}{
		{"names", checkNames}, {"sets", checkSets}, {"tokens", checkTokens}, {"watches", checkWatches}, {"cached reads", checkCached},
		{"deadlines", checkDeadlines}, {"the dead", checkDead},
	} {
		for _, f := range c.run(h) {
			found = append(found, c.name+": "+f)
		}
	}
	bad, overlaps := checkIntervals(h)
	for _, f := range bad {
		found = append(found, "intervals: "+f)
	}
	if res != nil {
		res.Overlaps = overlaps
	}
	return found
}

// sighting is the first time that anybody saw a thing.
func first(m map[uint64]int64, key uint64, at int64) {
	if had, ok := m[key]; !ok || at < had {
		m[key] = at
	}
}

// claim is one time that a name came to somebody, put together from all that was told of it.
type claim struct {
	name, session string
	mode          string
	token         uint64
	from, to      int64 // it happened between
	takes         bool  // it may take the name from somebody who lives
	given         bool  // by its owner, with a transfer
	told          bool  // its owner knows of it

	end     bool // something ended it
	endFrom int64
	endTo   int64
}

// shared tells whether a name is none that one session holds and others contend for: a shared one, a group, or that of a probe.
func shared(name string) bool {
	return name != "" && (name[0] == 'r' || name[0] == 'g' || name[0] == 'p')
}

// claims puts together every claim of a name that anybody saw. What nobody made is a finding.
func claims(h *History) (all map[uint64]*claim, found []string) {
	all = map[uint64]*claim{}
	seen := map[uint64]int64{}
	gone := map[uint64]int64{}
	see := func(token uint64, name, session string, at int64) {
		if token == 0 || shared(name) {
			return
		}
		first(seen, token, at)
		c := all[token]
		if c == nil {
			all[token] = &claim{name: name, session: session, token: token, from: -1}
		} else if c.name != name || c.session != session && session != "" {
			found = append(found, sprintf("token %d is of %s, %s and of %s, %s", token, c.name, c.session, name, session))
		}
	}
	for _, r := range h.Records {
		switch {
		case r.What == WHold && r.Token == 0:
			found = append(found, sprintf("%s holds %s with no token", r.Sess, r.Name))
		case r.What == WHold:
			see(r.Token, r.Name, r.Sess, r.At)
			all[r.Token].told = true
			all[r.Token].mode = r.Mode
		case r.What == WCall && (r.Do == DoRegister || r.Do == DoReplace) && r.OK:
			see(r.Token, r.Name, r.Sess, r.Ret)
		case r.What == WCall && (r.Do == DoFresh || r.Do == DoCached) && r.OK && r.Token != 0:
			see(r.Token, r.Name, r.Owners[0], r.Ret)
		case r.What == WEvent && (r.Do == "registered" || r.Do == "updated"):
			see(r.Token, r.Name, r.Sess, r.At)
		case r.What == WEvent && r.Do == "unregistered" && r.Token != 0 && !shared(r.Name):
			see(r.Token, r.Name, r.Sess, r.At)
			if r.Err != "replaced" && r.Err != "transferred" { // those are the next claim's
				first(gone, r.Token, r.At)
			}
		}
	}
	bySession := map[string][]Record{} // calls that may have brought a name to a session
	for _, r := range h.Records {
		if r.What != WCall || shared(r.Name) {
			continue
		}
		switch r.Do {
		case DoRegister, DoReplace:
			// An earlier claim of the session, whose outcome it never learnt, may have come: then this one has found it, under its token.
			if c := all[r.Token]; r.OK && c != nil && c.from < 0 && seen[r.Token] >= r.At {
				c.from, c.to, c.takes, c.told = r.At, r.Ret, r.Do == DoReplace, true
			}
			bySession[r.Sess+" "+r.Name] = append(bySession[r.Sess+" "+r.Name], r)
		case DoStandBy:
			bySession[r.Sess+" "+r.Name] = append(bySession[r.Sess+" "+r.Name], r)
		case DoTransfer:
			bySession[r.To+" "+r.Name] = append(bySession[r.To+" "+r.Name], r)
		}
	}
	for _, c := range all {
		if c.from >= 0 {
			for _, r := range bySession[c.session+" "+c.name] { // a claim that was under way finds what was given to its session meanwhile
				if r.Do == DoTransfer && r.At <= c.to && (r.OK || r.Maybe) {
					c.given, c.from = true, min(c.from, r.At)
				}
			}
			continue
		}
		c.to = seen[c.token]
		for _, r := range bySession[c.session+" "+c.name] {
			if r.At > c.to || !r.OK && !r.Maybe || r.OK && (r.Do == DoRegister || r.Do == DoReplace) {
				continue
			}
			if c.from < 0 {
				c.from = r.At
			}
			c.takes = c.takes || r.Do == DoReplace
			c.given = c.given || r.Do == DoTransfer
		}
		if c.from < 0 {
			found = append(found, sprintf("%s was seen with %s and token %d, which nobody claimed", c.name, c.session, c.token))
			c.from = 0
		}
	}
	ends(h, all, gone)
	return all, found
}

// ends says of each claim whether something may have ended it, and when.
func ends(h *History, all map[uint64]*claim, gone map[uint64]int64) {
	death := deaths(h)
	byToken := map[uint64]Record{}
	lost := map[uint64]bool{}
	for _, r := range h.Records {
		if r.What == WCall && r.Do == DoUnregister {
			byToken[r.Token] = r
		}
		if r.What == WLost {
			lost[r.Token] = true
		}
		if r.What == WCall && r.Do == DoTransfer && (r.OK || r.Maybe) { // to one who died meanwhile; or its outcome was lost, and the giver removes what is left
			byToken[r.Token] = r
		}
	}
	for _, c := range all {
		set := func(from, to int64) {
			if at, ok := gone[c.token]; ok {
				to = min(to, at)
			}
			if !c.end {
				c.end, c.endFrom, c.endTo = true, max(from, c.from), to
				return
			}
			c.endFrom, c.endTo = min(c.endFrom, max(from, c.from)), min(c.endTo, to)
		}
		if r, ok := byToken[c.token]; ok {
			if r.OK {
				set(r.At, r.Ret)
			} else {
				set(r.At, Never)
			}
		}
		if d, ok := death[c.session]; ok {
			set(d.From, d.To)
		}
		if !c.told || lost[c.token] && !c.end { // one that its owner never knew of he gives up again
			set(c.from, Never)
		}
		c.endTo = max(c.endTo, c.endFrom)
	}
}

// deaths says of each session that ended between when.
func deaths(h *History) map[string]Pause {
	out := map[string]Pause{}
	alive := map[string]int64{} // the last call of the session that worked
	process := map[string]string{}
	for _, r := range h.Records {
		if r.Sess == "" || r.What == WEvent {
			continue
		}
		process[r.Sess] = r.Process
		if r.What == WCall && r.OK && r.Do != DoClose && r.Do != DoUnregister && r.Do != DoLeave && r.Do != DoUnshare && r.Do != DoMembers && r.Do != DoWithdraw {
			alive[r.Sess] = max(alive[r.Sess], r.At)
		}
	}
	for _, r := range h.Records {
		switch {
		case r.What == WEnd:
			if _, ok := out[r.Sess]; !ok {
				out[r.Sess] = Pause{alive[r.Sess], Never}
			}
		case r.What == WCall && r.Do == DoClose && r.OK:
			out[r.Sess] = Pause{alive[r.Sess], r.Ret} // or before, when its owner did not know of it yet
		case r.What == WCall && r.Do == DoClose:
			out[r.Sess] = Pause{alive[r.Sess], Never}
		}
	}
	for s, p := range process {
		if at, ok := h.Killed[p]; ok {
			if _, ended := out[s]; !ended {
				out[s] = Pause{min(alive[s], at), Never}
			}
		}
	}
	return out
}
