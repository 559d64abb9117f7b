package registry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// membersOf is members with the tokens 1 to n, on the nodes n0 to n2 in turn.
func membersOf(n int) []Member {
	out := make([]Member, n)
	for i := range out {
		out[i] = Member{Group: "g", Instance: fmt.Sprint("i", i), Node: fmt.Sprint("n", i%3), Token: kvstore.Revision(i + 1)}
	}
	return out
}

// taken counts who is chosen in n choices.
func taken(s Strategy, c Choice, n int) []int {
	out := make([]int, len(c.Members))
	for range n {
		out[s.Choose(c)]++
	}
	return out
}

func TestRandomTakesEverybody(t *testing.T) {
	for i, n := range taken(Random(), Choice{Members: membersOf(5)}, 5000) {
		if n < 700 || n > 1300 {
			t.Errorf("member %d was taken %d times of 5000", i, n)
		}
	}
}

func TestOldest(t *testing.T) {
	if got := taken(Oldest(), Choice{Members: membersOf(3)}, 10); !slices.Equal(got, []int{10, 0, 0}) {
		t.Error(got)
	}
}

// Round robin takes everybody once a round, also when members come and go between two turns, and each group has turns of its own.
func TestRoundRobin(t *testing.T) {
	s, members := RoundRobin(), membersOf(6)
	turn := func(group string, of ...int) int {
		c := Choice{Group: group}
		for _, i := range of {
			c.Members = append(c.Members, members[i])
		}
		return of[s.Choose(c)]
	}
	for i, step := range []struct {
		of   []int
		want int
	}{
		{[]int{0, 1, 2, 3}, 0}, {[]int{0, 1, 2, 3}, 1}, {[]int{0, 2, 3}, 2}, {[]int{0, 3}, 3}, {[]int{0, 3, 4}, 4}, {[]int{0, 3, 4}, 0},
		{[]int{3, 4}, 3}, {[]int{5}, 5}, {[]int{5}, 5}, {[]int{1, 5}, 1},
	} {
		if got := turn("g", step.of...); got != step.want {
			t.Fatalf("step %d: %d, want %d", i, got, step.want)
		}
		if got, want := turn("h", 0, 1), i%2; got != want {
			t.Fatalf("step %d of the other group: %d, want %d", i, got, want)
		}
	}
}

// A key has one member; only the keys of a member that goes move, and one that comes takes keys from all and moves none between others.
func TestHashIsStable(t *testing.T) {
	const keys = 10_000
	members := membersOf(10)
	owners := func(members []Member) []string {
		out := make([]string, keys)
		for k := range out {
			out[k] = members[Hash(fmt.Sprint("key-", k)).Choose(Choice{Members: members})].Instance
		}
		return out
	}
	all := owners(members)
	share := map[string]int{}
	for _, who := range all {
		share[who]++
	}
	for _, m := range members {
		if n := share[m.Instance]; n < keys/10*7/10 || n > keys/10*13/10 {
			t.Errorf("%s has %d of %d keys", m.Instance, n, keys)
		}
	}
	shuffled := slices.Clone(members)
	slices.Reverse(shuffled)
	if !slices.Equal(owners(shuffled), all) {
		t.Error("the order of the members matters")
	}
	gone := members[4].Instance
	for k, who := range owners(slices.Concat(members[:4], members[5:])) {
		if all[k] != gone && who != all[k] {
			t.Fatalf("key %d moved from %s to %s when %s went", k, all[k], who, gone)
		}
		if who == gone {
			t.Fatalf("key %d is left with %s", k, gone)
		}
	}
	for i := range members {
		members[i].Name, members[i].Instance = "name-"+members[i].Instance, "old-"+members[i].Instance
	}
	before := owners(members)
	members[4].Instance = "new"
	for k, who := range owners(members) {
		if who != before[k] && (who != "new" || before[k] != "old-i4") {
			t.Fatalf("key %d moved from %s to %s when a named server was started anew", k, before[k], who)
		}
	}
	for i := range members {
		members[i].Name = "same"
	}
	spread := map[string]int{}
	for _, who := range owners(members) {
		spread[who]++
	}
	if len(spread) != len(members) {
		t.Errorf("the instances of one name share the keys as %v", spread)
	}
	// What a key belongs to is the same in every version: callers of several versions must agree.
	if got := Hash("key").Choose(Choice{Members: membersOf(10)}); got != 5 {
		t.Errorf("the member of a key has changed: %d", got)
	}
}

func TestLocal(t *testing.T) {
	c := Choice{Members: membersOf(6), Node: "n1"}
	if got := taken(Local(RoundRobin()), c, 4); !slices.Equal(got, []int{0, 2, 0, 0, 2, 0}) {
		t.Error(got)
	}
	for _, node := range []string{"elsewhere", ""} {
		c.Node = node
		if got := taken(Local(RoundRobin()), c, 6); !slices.Equal(got, []int{1, 1, 1, 1, 1, 1}) {
			t.Errorf("on %q: %v", node, got)
		}
	}
	c.Node = "n1"
	if got := Local(StrategyFunc(func(Choice) int { return 5 })).Choose(c); got != -1 {
		t.Errorf("a strategy that chooses nobody chose %d", got)
	}
}

func TestLeastBusy(t *testing.T) {
	c := Choice{Members: membersOf(4)}
	load := func(of ...float64) Strategy {
		return LeastBusy(func(m Member) float64 { return of[m.Token-1] })
	}
	if got := taken(load(3, 1, 2, math.NaN()), c, 10); !slices.Equal(got, []int{0, 10, 0, 0}) {
		t.Error(got)
	}
	if got := taken(load(math.NaN(), 5, 6, 7), c, 10); !slices.Equal(got, []int{0, 10, 0, 0}) {
		t.Error(got)
	}
	for i, n := range taken(load(1, 0, 0, 0), c, 3000) {
		if i == 0 && n != 0 || i > 0 && (n < 700 || n > 1300) {
			t.Errorf("member %d was taken %d times of 3000", i, n)
		}
	}
	for i, load := range []string{"2", "0.5", "much", "1"} {
		c.Members[i].Metadata = map[string]string{LoadKey: load}
	}
	if got := taken(LeastBusy(nil), c, 5); !slices.Equal(got, []int{0, 0, 5, 0}) {
		t.Error(got)
	}
}

func TestParseStrategy(t *testing.T) {
	for _, s := range strategies {
		if got, err := ParseStrategy(s.name, "key"); err != nil || got.Choose(Choice{Members: membersOf(1)}) != 0 {
			t.Errorf("%s: %v, %v", s.name, got, err)
		}
	}
	if s, err := ParseStrategy("", ""); err != nil || s == nil {
		t.Error(err)
	}
	if _, err := ParseStrategy("fastest", ""); !errors.Is(err, ErrBadStrategy) || err.Error() !=
		`registry: no such strategy: "fastest"; there are random, round-robin, hash, oldest, local, least-busy` {
		t.Error(err)
	}
}

func TestPickErrors(t *testing.T) {
	r := groupView(t, 2)
	for _, c := range []struct {
		group string
		s     Strategy
		want  error
	}{
		{"nobody", nil, ErrNoMembers}, {"a b", nil, ErrBadName},
		{"tools", StrategyFunc(func(Choice) int { return -1 }), ErrNoMembers}, {"tools", StrategyFunc(func(Choice) int { return 2 }), ErrNoMembers},
	} {
		if m, err := r.Pick(c.group, c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", c.group, m, err, c.want)
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	r := groupView(t, 10)
	for _, s := range strategies {
		if s.name == "local" {
			continue // it lists who is near
		}
		by := s.make("key")
		if n := testing.AllocsPerRun(100, func() {
			if _, err := r.Pick("tools", by); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", s.name, n)
		}
	}
}

func BenchmarkPick10(b *testing.B) {
	r := groupView(b, 10)
	for _, s := range strategies {
		b.Run(s.name, func(b *testing.B) {
			by := s.make("key")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Pick("tools", by); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
