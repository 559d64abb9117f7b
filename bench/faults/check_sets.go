//go:build linux

package faults

import (
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// setStep is one step of the model of a group, or of who serves a shared name: who joins, who leaves, whose session ends, and what a read shows.
type setStep struct {
	do      string // join, leave, die, members, one
	session string
	seen    []string
}

// setModel keeps who is in, and who is dead: those come in no more, however late their writes arrive. Its state is one text, so that it is compared fast.
var setModel = porcupine.Model{
	Init: func() any { return "|" },
	Step: func(state, input, _ any) (bool, any) {
		text, in := state.(string), input.(setStep)
		alive, dead, _ := strings.Cut(text, "|")
		members := split(alive)
		switch in.do {
		case "join":
			if slices.Contains(members, in.session) || slices.Contains(split(dead), in.session) {
				return true, text
			}
			members = append(members, in.session)
			slices.Sort(members)
			return true, strings.Join(members, ",") + "|" + dead
		case "leave", "die":
			if i := slices.Index(members, in.session); i >= 0 {
				members = slices.Delete(members, i, i+1)
			}
			if in.do == "die" {
				gone := append(split(dead), in.session)
				slices.Sort(gone)
				dead = strings.Join(gone, ",")
			}
			return true, strings.Join(members, ",") + "|" + dead
		case "one":
			if len(in.seen) == 0 {
				return len(members) == 0, text
			}
			return slices.Contains(members, in.seen[0]), text
		}
		return slices.Equal(members, in.seen), text
	},
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// checkSets checks groups and shared names with porcupine.
func checkSets(h *History) []string {
	ops := map[string][]porcupine.Operation{}
	in := map[string]map[string]bool{}
	last := map[string]int64{}  // the latest that somebody saw a session leave a group
	left := map[string]int64{}  // the same, of a death
	asked := map[string]int64{} // when a session first asked to join
	for _, r := range h.Records {
		key := r.Name + " " + r.Sess
		if r.What == WEvent && r.Do == "left" && shared(r.Name) {
			last[key] = max(last[key], r.At)
			if _, ok := left[key]; !ok && r.Err != "left" && r.Err != "unregistered" && r.Err != "" {
				left[key] = r.At
			}
		}
		if r.What != WCall || !shared(r.Name) || !r.OK && !r.Maybe {
			continue
		}
		add := func(do string, to int64) {
			ops[r.Name] = append(ops[r.Name], porcupine.Operation{Input: setStep{do: do, session: r.Sess}, Call: r.At, Return: to})
		}
		switch r.Do {
		case DoJoin, DoShare:
			if in[r.Name] == nil {
				in[r.Name] = map[string]bool{}
			}
			in[r.Name][r.Sess] = true
			first2(asked, key, r.At)
			if r.OK {
				add("join", r.Ret)
			} else { // it may come, and is removed again when it does
				add("join", Never)
				add("leave", Never)
			}
		case DoLeave, DoUnshare:
			if r.OK {
				add("leave", r.Ret)
			} else {
				add("leave", Never)
			}
		case DoMembers, DoFresh:
			if !r.OK {
				continue
			}
			step := setStep{do: "members", seen: append(make([]string, 0, 8), slices.Sorted(slices.Values(r.Owners))...)}
			if r.Do == DoFresh {
				step.do = "one"
			}
			ops[r.Name] = append(ops[r.Name], porcupine.Operation{Input: step, Call: r.At, Return: r.Ret})
		}
	}
	for session, d := range deaths(h) {
		for name, who := range in {
			if !who[session] {
				continue
			}
			to := d.To
			if at, ok := left[name+" "+session]; ok {
				to = max(min(to, at), d.From)
			}
			from := max(d.From, asked[name+" "+session])
			ops[name] = append(ops[name], porcupine.Operation{Input: setStep{do: "die", session: session}, Call: from, Return: max(to, from)})
		}
	}
	var found []string
	for _, name := range sortedKeys(ops) {
		if verdict := linearizable(setModel, ops[name]); verdict != "" {
			found = append(found, name+" "+verdict)
		}
	}
	return found
}

func first2(m map[string]int64, key string, at int64) {
	if had, ok := m[key]; !ok || at < had {
		m[key] = at
	}
}
