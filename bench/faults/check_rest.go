//go:build linux

package faults

import (
	"slices"
	"time"
)

// checkTokens: the tokens of a name only grow, in the order in which anybody is told of them by one process.
func checkTokens(h *History) []string {
	var found []string
	newest := map[string]uint64{} // by process and name, as it was read there
	owned := map[uint64]string{}
	for _, r := range h.Records {
		switch {
		case r.What == WHold:
			if by, ok := owned[r.Token]; ok && by != r.Name+" "+r.Sess {
				found = append(found, sprintf("token %d was given to %s and to %s %s", r.Token, by, r.Name, r.Sess))
			}
			owned[r.Token] = r.Name + " " + r.Sess
		case r.What == WEvent && r.Do == "registered" && r.Token != 0:
			key := r.Process + " " + r.Name
			if r.Token < newest[key] {
				found = append(found, sprintf("%s saw %s with token %d after %d", r.Process, r.Name, r.Token, newest[key]))
			}
			newest[key] = max(newest[key], r.Token)
		}
	}
	return found
}

// checkCached: a read from the view that says it is at most so old knows all that was acknowledged before.
func checkCached(h *History) []string {
	type fact struct {
		at  int64
		rev uint64
	}
	var facts []fact
	for _, r := range h.Records {
		if r.What != WCall || !r.OK {
			continue
		}
		if r.Token != 0 && (r.Do == DoRegister || r.Do == DoReplace) {
			facts = append(facts, fact{r.Ret, r.Token})
		}
		if r.Rev != 0 && (r.Do == DoFresh || r.Do == DoMembers) {
			facts = append(facts, fact{r.Ret, r.Rev})
		}
	}
	slices.SortFunc(facts, func(a, b fact) int { return int(a.at - b.at) })
	for i := 1; i < len(facts); i++ {
		facts[i].rev = max(facts[i].rev, facts[i-1].rev)
	}
	var found []string
	owners := map[string]int64{} // since when a process has a session: before, what it says rests on no proof
	for _, r := range h.Records {
		switch {
		case r.What == WCall && r.Do == DoOpen && r.OK:
			owners[r.Process] = max(owners[r.Process], r.Ret)
		case r.What == WEnd:
			owners[r.Process] = max(owners[r.Process], r.At)
		}
		if r.What != WCall || r.Do != DoCached || !r.OK || !r.Known || owners[r.Process] == 0 || r.At < owners[r.Process]+int64(time.Second) {
			continue
		}
		// The age is by the reader's own clock, which may be slow.
		before := r.At - int64(float64(r.Age)*1.05) - int64(time.Millisecond)
		i, _ := slices.BinarySearchFunc(facts, before, func(f fact, t int64) int {
			if f.at < t {
				return -1
			}
			return 1
		})
		if i > 0 && r.Rev < facts[i-1].rev {
			found = append(found, sprintf("%s at %.3f read revision %d and said that it is at most %v old; %d was acknowledged %v before",
				r.Process, float64(r.At)/1e9, r.Rev, time.Duration(r.Age), facts[i-1].rev, time.Duration(r.At-facts[i-1].at)))
		}
	}
	return found
}

// deadlineRoom is what a call may take beyond its deadline: what a machine that is shared takes to wake it up.
const deadlineRoom = 2 * time.Second

// checkDeadlines: a call returns when its context ends. Time for which its process was stopped does not count.
func checkDeadlines(h *History) []string {
	var found []string
	for _, r := range h.Records {
		if r.What != WCall || r.Limit == 0 {
			continue
		}
		end := r.Ret
		if end == Never {
			if at, ok := h.Killed[r.Process]; ok {
				end = at
			} else {
				found = append(found, sprintf("%s: %s %s never returned", r.Process, r.Do, r.Name))
				continue
			}
		}
		for _, p := range h.Paused[r.Process] {
			if p.From < end && p.To > r.At {
				end -= max(0, min(p.To, end)-p.From)
			}
		}
		if late := time.Duration(end - r.Limit); late > deadlineRoom {
			found = append(found, sprintf("%s: %s %s returned %v after its deadline", r.Process, r.Do, r.Name, late.Round(time.Millisecond)))
		}
	}
	return found
}

// checkDead: what a killed process held is not read any more after a TTL and some seconds, and the time for which faults kept anybody from noticing.
func checkDead(h *History) []string {
	process := map[string]string{}
	for _, r := range h.Records {
		if r.What != WEvent && r.Sess != "" {
			process[r.Sess] = r.Process
		}
	}
	var found []string
	for _, r := range h.Records {
		if r.What != WCall || r.Do != DoFresh || !r.OK || len(r.Owners) == 0 {
			continue
		}
		at, dead := h.Killed[process[r.Owners[0]]]
		if !dead || r.At < at {
			continue
		}
		bound := 2*h.TTL + 5*time.Second
		for _, s := range h.Spans {
			bound += time.Duration(max(0, min(s.To, r.At)-max(s.From, at)))
		}
		if age := time.Duration(r.At - at); age > bound {
			found = append(found, sprintf("%s was read as held by %s, which had been dead for %v; the bound is %v", r.Name, r.Owners[0], age, bound))
		}
	}
	return found
}
