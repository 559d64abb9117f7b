package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// An ordered set is, after any changes, what a sorted slice would be, and its chunks keep their bounds.
func TestOrdered(t *testing.T) {
	for name, compare := range map[string]func(a, b string) int{"text": strings.Compare, "endings": compareEndings} {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			o := &ordered{compare: compare}
			var want []string
			for i := range 20_000 {
				s := fmt.Sprintf("%d.%d", rnd.IntN(60), rnd.IntN(60))
				at, there := slices.BinarySearchFunc(want, s, compare)
				switch grow := i/5000%2 == 0; {
				case rnd.IntN(10) > 1 == grow:
					if o.add(s) == there {
						t.Fatalf("add %q to %v that holds it: %v", s, o.n, there)
					}
					if !there {
						want = slices.Insert(want, at, s)
					}
				default:
					if o.remove(s) != there {
						t.Fatalf("remove %q: it was there: %v", s, there)
					}
					if there {
						want = slices.Delete(want, at, at+1)
					}
				}
				if i%500 == 0 {
					checkOrdered(t, o, want)
				}
			}
			checkOrdered(t, o, want)
			for _, s := range want {
				o.remove(s)
			}
			checkOrdered(t, o, nil)
		})
	}
}

func checkOrdered(t *testing.T, o *ordered, want []string) {
	t.Helper()
	if got := slices.Collect(o.from("")); !slices.Equal(got, want) || o.len() != len(want) {
		t.Fatalf("the set has %d texts, want %d", len(got), len(want))
	}
	if most := 2 + 4*len(want)/maxChunk; len(o.chunks) > most {
		t.Fatalf("%d texts in %d chunks, %d is the most", len(want), len(o.chunks), most)
	}
	for _, c := range o.chunks {
		if len(c) == 0 || len(c) > maxChunk {
			t.Fatalf("a chunk of %d texts", len(c))
		}
	}
	for _, s := range []string{"", "3", "30.30", "30.300", "z"} {
		at, _ := slices.BinarySearchFunc(want, s, o.compare)
		if got := o.rank(s); got != at {
			t.Fatalf("rank of %q is %d, want %d", s, got, at)
		}
		for name := range o.from(s) {
			if name != want[at] {
				t.Fatalf("%q follows %q, want %q", name, s, want[at])
			}
			break
		}
	}
}

func TestOrderedUnion(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		sets := []*ordered{nil}
		var all []string
		for range rnd.IntN(20) {
			sets = append(sets, &ordered{compare: strings.Compare})
		}
		for i := range rnd.IntN(2000) {
			s := fmt.Sprintf("%04d", (i*7919)%10_000)
			if at := rnd.IntN(len(sets)); at > 0 && sets[at].add(s) {
				all = append(all, s)
			}
		}
		slices.Sort(all)
		if got := slices.Collect(union(sets, "")); !slices.Equal(got, all) {
			t.Fatalf("%d texts of %d sets, want %d", len(got), len(sets), len(all))
		}
		at, _ := slices.BinarySearch(all, "5")
		if got := slices.Collect(union(sets, "5")); !slices.Equal(got, all[at:]) {
			t.Fatalf("from 5: %d texts, want %d", len(got), len(all[at:]))
		}
	}
}

// Few texts that are left of many are in few chunks, whatever the order in which the others went.
func TestOrderedShrinks(t *testing.T) {
	o := &ordered{compare: strings.Compare}
	for i := range 50_000 {
		o.add(fmt.Sprintf("%06d", i))
	}
	for i := range 50_000 {
		if i%100 != 0 {
			o.remove(fmt.Sprintf("%06d", i))
		}
	}
	if o.n != 500 || len(o.chunks) > 8 {
		t.Errorf("%d texts in %d chunks", o.n, len(o.chunks))
	}
}
