package registry

import (
	"fmt"
	"hash/maphash"
	"os"
	"strings"
	"testing"
	"time"
)

// The models of this package are explored, not sampled: from a first state, every state that any order of steps can reach, breadth first, each
// once. A wrong rule is found with the shortest way to it.

// exploreLong asks for the larger bounds, which take minutes.
var exploreLong = os.Getenv("TOOLBUS_EXPLORE") == "long"

// step names one transition, for the trace.
type step struct {
	what string
	a, b int
}

func (s step) String() string { return fmt.Sprintf("%s %d %d", s.what, s.a, s.b) }

// model is what is explored: next gives every state that can follow s; a broken rule is told in bad.
type model[S comparable] interface {
	next(s S, emit func(how step, to S, bad string))
	show(s S) string
}

// found is the outcome of an exploration.
type found struct {
	states   int
	depth    int
	complete bool   // nothing was left out by the limit
	bad      string // the broken rule, with the way to it
	took     time.Duration
}

func (f found) String() string {
	return fmt.Sprintf("%d states, %d steps deep, complete: %v, %.1fs", f.states, f.depth, f.complete, f.took.Seconds())
}

// explore visits at most limit states. Only their hashes are kept, with the way back: 64 bits, so that two of a few million are taken for
// one with a chance of one in a million.
func explore[S comparable](m model[S], start S, limit int) (f found) {
	began := time.Now()
	defer func() { f.took = time.Since(began) }()
	type way struct {
		from int32
		nth  int32
	}
	seed := maphash.MakeSeed()
	seen := map[uint64]struct{}{maphash.Comparable(seed, start): {}}
	ways := []way{{-1, 0}}
	level, index := []S{start}, []int32{0}
	f.complete = true
	for ; len(level) > 0; f.depth++ {
		var after []S
		var afterIndex []int32
		for i, s := range level {
			nth := int32(-1)
			m.next(s, func(how step, to S, bad string) {
				nth++
				if f.bad != "" {
					return
				}
				if bad != "" {
					var nths []int32
					for at := index[i]; at > 0; at = ways[at].from {
						nths = append(nths, ways[at].nth)
					}
					f.bad = bad + "\n" + replay(m, start, nths, nth)
					return
				}
				h := maphash.Comparable(seed, to)
				if _, ok := seen[h]; ok {
					return
				}
				if len(seen) >= limit {
					f.complete = false
					return
				}
				seen[h] = struct{}{}
				after = append(after, to)
				afterIndex = append(afterIndex, int32(len(ways)))
				ways = append(ways, way{index[i], nth})
			})
			if f.bad != "" {
				f.states = len(seen)
				return f
			}
		}
		level, index = after, afterIndex
	}
	f.states = len(seen)
	return f
}

// replay goes a way again and tells it.
func replay[S comparable](m model[S], s S, back []int32, last int32) string {
	var out strings.Builder
	for i := len(back); i >= 0; i-- {
		want := last
		if i > 0 {
			want = back[i-1]
		}
		nth, here := int32(-1), s
		m.next(here, func(how step, to S, bad string) {
			if nth++; nth == want {
				fmt.Fprintf(&out, "  %-32v %s\n", how, m.show(to))
				s = to
			}
		})
	}
	return out.String()
}

// exploreRules explores a model whose rules are the code's: nothing may be broken, within the bounds everything must have been seen.
func exploreRules[S comparable](t *testing.T, m model[S], start S, limit, least int) {
	t.Helper()
	f := explore(m, start, limit)
	t.Log(f)
	if f.bad != "" {
		t.Fatal(f.bad)
	}
	if !f.complete || f.states < least {
		t.Fatalf("the exploration has not seen what it should: %v, at least %d states", f, least)
	}
}

// exploreMutant explores a model with a rule taken out: it must be found.
func exploreMutant[S comparable](t *testing.T, m model[S], start S, limit int) {
	t.Helper()
	f := explore(m, start, limit)
	if f.bad == "" {
		t.Fatalf("the rule was taken out and nothing was found: %v", f)
	}
	t.Logf("%v: %s", f, f.bad)
}
