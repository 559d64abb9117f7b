//go:build linux

package faults

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

var sprintf = fmt.Sprintf

// porcupineLimit is how long porcupine may think about one name; beyond it the outcome is a failure.
const porcupineLimit = 60 * time.Second

// nameState is the model of one name: the token under which it is held, 0 if it is free, and the newest token that there was.
type nameState struct{ held, last uint64 }

// nameStep is one step of it.
type nameStep struct {
	do     string // claim, end, read
	token  uint64
	takes  bool            // the claim takes the name from whoever has it
	givers map[uint64]bool // the claim takes it from one of these
	open   bool            // it may be that it never happened
}

// nameModel: a claim finds the name free, unless it takes it, and has a token above all before; an end frees what is still held under its token; a read
// shows what is.
var nameModel = porcupine.Model{
	Init: func() any { return nameState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(nameState), input.(nameStep)
		switch in.do {
		case "claim":
			free := s.held == 0 || in.takes || in.givers[s.held]
			if in.open && (!free || in.token <= s.last) {
				return true, s
			}
			return free && in.token > s.last, nameState{held: in.token, last: in.token}
		case "end":
			if s.held == in.token {
				s.held = 0
			}
			return in.open || s.last >= in.token, s
		}
		return s.held == in.token, s
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// checkNames checks each name that is one session's with porcupine.
func checkNames(h *History) []string {
	all, found := claims(h)
	ops := map[string][]porcupine.Operation{}
	bySession := map[string][]uint64{}
	for _, c := range all {
		bySession[c.session] = append(bySession[c.session], c.token)
	}
	for _, c := range all {
		step := nameStep{do: "claim", token: c.token, takes: c.takes && !strict(c.name)}
		if c.given {
			step.givers = givers(h, c, bySession)
		}
		ops[c.name] = append(ops[c.name], porcupine.Operation{Input: step, Call: c.from, Return: c.to})
		if c.end {
			ops[c.name] = append(ops[c.name], porcupine.Operation{Input: nameStep{do: "end", token: c.token}, Call: c.endFrom, Return: c.endTo})
		}
	}
	for _, r := range h.Records {
		if r.What == WCall && r.Do == DoFresh && r.OK && !shared(r.Name) {
			ops[r.Name] = append(ops[r.Name], porcupine.Operation{Input: nameStep{do: "read", token: r.Token}, Call: r.At, Return: r.Ret})
		}
	}
	for _, name := range sortedKeys(ops) {
		if verdict := linearizable(nameModel, ops[name]); verdict != "" {
			found = append(found, name+" "+verdict)
		}
	}
	return found
}

// givers are the tokens of those who gave a name to the session of a claim.
func givers(h *History, c *claim, bySession map[string][]uint64) map[uint64]bool {
	out := map[uint64]bool{}
	for _, r := range h.Records {
		if r.What == WCall && r.Do == DoTransfer && r.To == c.session && r.Name == c.name {
			for _, t := range bySession[r.Sess] {
				if t < c.token {
					out[t] = true
				}
			}
		}
	}
	return out
}

// strict tells whether a name is claimed by strict sessions alone.
func strict(name string) bool { return name[0] == 's' }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// linearizable says what is wrong with a history; "" is nothing. Where porcupine does not know, that is wrong too.
func linearizable(m porcupine.Model, ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	switch porcupine.CheckOperationsTimeout(m, ops, porcupineLimit) {
	case porcupine.Ok:
		return ""
	case porcupine.Unknown:
		return sprintf("cannot be decided within %v: %d steps", porcupineLimit, len(ops))
	}
	text := sprintf("is not linearizable: %d steps", len(ops))
	// The shortest beginning that is wrong says where to look: what returns after it cannot matter.
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	n := sort.Search(len(ops), func(n int) bool {
		return porcupine.CheckOperationsTimeout(m, upTo(ops, n), porcupineLimit) == porcupine.Illegal
	})
	from := max(0, n-12)
	for _, o := range ops[from:min(len(ops), n+1)] {
		text += sprintf("\n      %.6f to %.6f %+v", float64(o.Call)/1e9, float64(o.Return)/1e9, o.Input)
	}
	for _, o := range upTo(ops, min(n, len(ops)-1)) {
		if s, ok := o.Input.(nameStep); ok && s.open {
			text += sprintf("\n      %.6f still under way %+v", float64(o.Call)/1e9, o.Input)
		}
	}
	return text
}

// upTo is the history up to the return of ops[n]: what had begun by then may still return at any time, or have no effect yet.
func upTo(ops []porcupine.Operation, n int) []porcupine.Operation {
	end := ops[n].Return
	var out []porcupine.Operation
	for _, o := range ops {
		if o.Call > end {
			continue
		}
		if o.Return > end {
			if s, ok := o.Input.(nameStep); ok {
				if s.do == "read" {
					continue
				}
				s.open = true
				o.Input = s
			}
			if s, ok := o.Input.(setStep); ok && s.seen != nil {
				continue
			}
			o.Return = Never
		}
		out = append(out, o)
	}
	return out
}
