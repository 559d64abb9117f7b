package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// curves are all that are measured.
func curves() []curve {
	return []curve{
		{Curve: Curve{Name: "register-by-nodes", Text: "one registration with a group, waited for, by the number of nodes", X: "nodes", Y: "ms"}, system: "toolbus", xs: []int{1, 3, 5}, at: registerAt},
		{Curve: Curve{Name: "lookup-by-names", Text: "one look-up on one core, names drawn at random", X: "names", Y: "ns"}, system: "toolbus", xs: []int{1_000, 10_000, 100_000, 1_000_000}, at: lookupAt(0)},
		{Curve: Curve{Name: "lookup-by-names"}, system: "map", xs: []int{1_000, 10_000, 100_000, 1_000_000}, at: lookupAt(1)},
		{Curve: Curve{Name: "join-by-names", Text: "a process opens the registry and has all names", X: "names", Y: "ms"}, system: "toolbus", xs: []int{1_000, 10_000, 100_000, 1_000_000}, at: joinAt},
		{Curve: Curve{Name: "keeping-by-sessions", Text: "processor time of three nodes and ten processes while nothing happens", X: "sessions", Y: "% of a core"}, system: "toolbus", xs: []int{10, 100, 1_000, 10_000}, at: keepingAt},
		{Curve: Curve{Name: "watch-by-watchers", Text: "a registration, until the last of the watchers on two nodes has it", X: "watchers", Y: "ms"}, system: "toolbus", xs: []int{2, 20, 200, 1_000}, at: watchAt},
		{Curve: Curve{Name: "group-by-members", Text: "a query that lists all members of a group", X: "members", Y: "µs"}, system: "toolbus", xs: []int{10, 100, 1_000, 10_000, 100_000}, at: membersAt},
	}
}

func registerAt(ctx context.Context, lab *Lab, nodes int) (float64, error) {
	cluster, err := lab.Cluster(ctx, nodes)
	if err != nil {
		return 0, err
	}
	var ms []float64
	for range 3 {
		if err := openScope(ctx, lab, cluster.Processes[:1], 0); err != nil {
			return 0, err
		}
		a, err := ask(ctx, cluster.Processes[0], Request{Verb: "register", Name: "r", N: 500, Group: "tools"})
		if err != nil {
			return 0, err
		}
		ms = append(ms, float64(a.Elapsed.Microseconds())/1e3/500)
	}
	return median(ms), nil
}

func lookupAt(bare int) func(context.Context, *Lab, int) (float64, error) {
	return func(ctx context.Context, lab *Lab, names int) (float64, error) {
		cluster, err := lab.Cluster(ctx, 1)
		if err != nil {
			return 0, err
		}
		if err := openScope(ctx, lab, cluster.Processes, names); err != nil {
			return 0, err
		}
		var ns []float64
		for range 3 {
			a, err := ask(ctx, cluster.Processes[0], Request{Verb: "lookup", N: 1_000_000, Size: bare})
			if err != nil {
				return 0, err
			}
			ns = append(ns, float64(a.Elapsed)/float64(a.N))
		}
		return median(ns), nil
	}
}

func joinAt(ctx context.Context, lab *Lab, names int) (float64, error) {
	round, err := startJoin(names)(ctx, lab)
	if err != nil {
		return 0, err
	}
	var ms []float64
	for range 3 {
		m, err := round(ctx)
		if err != nil {
			return 0, err
		}
		ms = append(ms, float64(m.Elapsed.Microseconds())/1e3)
	}
	return median(ms), nil
}

// keepingAt spreads the sessions over ten processes.
func keepingAt(ctx context.Context, lab *Lab, sessions int) (float64, error) {
	cluster, err := lab.Cluster(ctx, 3)
	if err != nil {
		return 0, err
	}
	scope := lab.Scope()
	if err := openAll(ctx, cluster.Processes, scope); err != nil {
		return 0, err
	}
	var clients []*Process
	for i := range 10 {
		p, err := lab.Client(ctx, fmt.Sprintf("c%d", i), cluster.URL(i%3))
		if err != nil {
			return 0, err
		}
		clients = append(clients, p)
	}
	for i, p := range clients {
		if _, err := ask(ctx, p, Request{Verb: "open", Scope: scope}); err != nil {
			return 0, err
		}
		if _, err := ask(ctx, p, Request{Verb: "sessions", Name: fmt.Sprintf("s-%d", i), N: sessions / 10}); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return 0, err
	}
	before := lab.cpu()
	if err := pause(ctx, 10*time.Second); err != nil {
		return 0, err
	}
	return 100 * (lab.cpu() - before).Seconds() / 10, nil
}

func watchAt(ctx context.Context, lab *Lab, watchers int) (float64, error) {
	round, err := startWatch(watchers/2)(ctx, lab)
	if err != nil {
		return 0, err
	}
	m, err := round(ctx)
	slices.Sort(m.Samples)
	return float64(Distribute(m.Samples).P50.Microseconds()) / 1e3, err
}

func membersAt(ctx context.Context, lab *Lab, members int) (float64, error) {
	cluster, err := lab.Cluster(ctx, 1)
	if err != nil {
		return 0, err
	}
	if err := openScope(ctx, lab, cluster.Processes, 0); err != nil {
		return 0, err
	}
	p := cluster.Processes[0]
	if _, err := ask(ctx, p, Request{Verb: "join", Name: "m", Group: "tools", N: members}); err != nil {
		return 0, err
	}
	a, err := ask(ctx, p, Request{Verb: "members", Group: "tools", N: max(10, 1_000_000/members)})
	if err == nil && int(a.Bytes) != members {
		err = fmt.Errorf("%v members", a.Bytes)
	}
	return float64(a.Elapsed.Nanoseconds()) / 1e3 / float64(max(1, a.N)), err
}
