package registry

import (
	"errors"
	"fmt"
	"strings"
)

// Strategy says which of several members to take. Its methods may be called concurrently; it may keep what it needs to remember, such as whose
// turn it was, so use one value for all choices that belong together.
type Strategy interface {
	// Choose returns the index of one of c.Members, which has at least one; any other number is none of them. It must not wait, nor
	// change what it is given.
	Choose(c Choice) int
}

// Choice is what a strategy chooses from.
type Choice struct {
	Group   string
	Members []Member // oldest first; read only
	Node    string   // the node of who chooses; "" where that is nobody's (a Snapshot)

	view *view
}

// Claims is how many claims are in force on the instance of Members[i], through whatever groups.
func (c Choice) Claims(i int) int {
	if c.view == nil {
		return 0
	}
	return c.view.claimsOf(c.Members[i].Instance)
}

// StrategyFunc is a function as a Strategy.
type StrategyFunc func(c Choice) int

// Choose calls f.
func (f StrategyFunc) Choose(c Choice) int { return f(c) }

// strategies is the table of those that have a name. A new one is a file and a row here.
var strategies = []struct {
	name string
	make func(key string) Strategy
}{
	{"random", func(string) Strategy { return Random() }},
	{"round-robin", func(string) Strategy { return RoundRobin() }},
	{"hash", Hash},
	{"oldest", func(string) Strategy { return Oldest() }},
	{"local", func(string) Strategy { return Local(nil) }},
	{"least-busy", func(string) Strategy { return LeastBusy(nil) }},
}

// ErrBadStrategy: no strategy has that name.
var ErrBadStrategy = errors.New("registry: no such strategy")

// ParseStrategy makes a strategy by its name: random, round-robin, hash, oldest, local or least-busy. The key is for hash. "" is random. The error is
// ErrBadStrategy and says which there are.
func ParseStrategy(name, key string) (Strategy, error) {
	if name == "" {
		return Random(), nil
	}
	var names []string
	for _, s := range strategies {
		if s.name == name {
			return s.make(key), nil
		}
		names = append(names, s.name)
	}
	return nil, fmt.Errorf("%w: %q; there are %s", ErrBadStrategy, name, strings.Join(names, ", "))
}
