package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long after a death is what died gone elsewhere?
func goneQuestion() Question {
	return Question{
		Name: "gone", Text: "How long after a kill -9 or a freeze is it gone on the other nodes?",
		Cases: []Case{
			{Name: "a process", Work: "one process with a name, until a reader on another node misses it", Systems: []System{{Name: "toolbus", Start: startGone("gone")}}},
			{Name: "a process, a waiter told", Work: "the same, until who monitors the name is told", Systems: []System{{Name: "toolbus", Start: startGone("down")}}},
			{Name: "a node", Rounds: 3, Work: "a node that neither leads the log nor keeps the scope, with 100 names", Systems: []System{{Name: "toolbus", Start: startNodeGone(false)}}},
			{Name: "the node that leads the log", Rounds: 3, Work: "a node with 100 names", Systems: []System{{Name: "toolbus", Start: startNodeGone(true)}}},
			{Name: "a frozen process", Rounds: 2, Work: "a process with a name that is stopped; the TTL is 6 s", Systems: []System{{Name: "toolbus", Start: startFrozen}}},
		},
	}
}

// startGone kills ten processes, one after the other.
func startGone(verb string) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (Measured, error) {
			var m Measured
			scope := lab.Scope()
			if err := openAll(ctx, nodes.Processes, scope); err != nil {
				return m, err
			}
			for i := range 10 {
				took, err := killed(ctx, lab, nodes, scope, verb, fmt.Sprintf("victim-%d", i))
				if err != nil {
					return m, err
				}
				m.Samples = append(m.Samples, took)
			}
			return m, nil
		}, nil
	}
}

// openAll opens a scope in all nodes, with a name that stays in the first: a scope without sessions has no keeper.
func openAll(ctx context.Context, processes []*Process, scope string) error {
	for i, p := range processes {
		if _, err := ask(ctx, p, Request{Verb: "open", Scope: scope}); err != nil {
			return err
		}
		if i == 0 {
			if _, err := ask(ctx, p, Request{Verb: "register", Name: "first", N: 1}); err != nil {
				return err
			}
		}
	}
	return nil
}

func killed(ctx context.Context, lab *Lab, nodes *Nodes, scope, verb, victim string) (time.Duration, error) {
	p, err := holder(ctx, lab, nodes, scope, victim)
	if err != nil {
		return 0, err
	}
	reader := nodes.Processes[1]
	if _, err := ask(ctx, reader, Request{Verb: "whereis", Name: victim}); err != nil {
		return 0, err
	}
	if _, err := ask(ctx, reader, Request{Verb: verb, Name: victim}); err != nil {
		return 0, err
	}
	at := p.Kill()
	a, err := ask(ctx, reader, Request{Verb: "collect"})
	return time.Duration(a.At - at), err
}

// holder starts a process on the third node that holds a name.
func holder(ctx context.Context, lab *Lab, nodes *Nodes, scope, victim string) (*Process, error) {
	p, err := lab.Client(ctx, victim, nodes.URL(2))
	if err != nil {
		return nil, err
	}
	if _, err := ask(ctx, p, Request{Verb: "open", Scope: scope}); err != nil {
		return nil, err
	}
	_, err = ask(ctx, p, Request{Verb: "hold", Name: victim})
	return p, err
}

// startNodeGone kills one node of a cluster that is new each round.
func startNodeGone(leader bool) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		return func(ctx context.Context) (Measured, error) {
			nodes, victim, err := clusterWith(ctx, lab, leader)
			if err != nil {
				return Measured{}, err
			}
			v := nodes.Processes[victim]
			readers := others(nodes.Processes, victim)
			if _, err := ask(ctx, v, Request{Verb: "hold", Name: "dying", N: 100}); err != nil {
				return Measured{}, err
			}
			if _, err := all(ctx, readers, func(int) Request { return Request{Verb: "whereis", Name: name("dying", 99)} }); err != nil {
				return Measured{}, err
			}
			if _, err := all(ctx, readers, func(int) Request { return Request{Verb: "gone", Name: "dying", N: 100} }); err != nil {
				return Measured{}, err
			}
			before := lab.cpu()
			at := v.Kill()
			answers, err := all(ctx, readers, func(int) Request { return Request{Verb: "collect"} })
			if err != nil {
				return Measured{}, err
			}
			var last int64
			for _, a := range answers {
				last = max(last, a.At)
			}
			for _, p := range readers {
				p.end()
			}
			return Measured{Samples: []time.Duration{time.Duration(last - at)}, CPU: max(0, lab.cpu()-before)}, nil
		}, nil
	}
}

func others(processes []*Process, without int) (out []*Process) {
	for i, p := range processes {
		if i != without {
			out = append(out, p)
		}
	}
	return out
}

// clusterWith starts three nodes on a new scope, and finds among them the one that leads its log, or one that neither leads it nor keeps it.
func clusterWith(ctx context.Context, lab *Lab, leader bool) (*Nodes, int, error) {
	nodes, err := lab.FreshCluster(ctx, 3)
	if err != nil {
		return nil, 0, err
	}
	scope := lab.Scope()
	if err := openAll(ctx, nodes.Processes, scope); err != nil {
		return nil, 0, err
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		answers, err := all(ctx, nodes.Processes, func(int) Request { return Request{Verb: "leads", Scope: scope} })
		if err != nil {
			return nil, 0, err
		}
		for i, a := range answers {
			if i > 0 && a.OK == leader && (leader || a.N == 0) { // the first has the scope's first session
				return nodes, i, nil
			}
		}
		if leader && answers[0].OK {
			return nodes, 0, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return nil, 0, errors.New("no node of that kind within 20 s")
}

func startFrozen(ctx context.Context, lab *Lab) (Round, error) {
	nodes, err := lab.Cluster(ctx, 3)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (Measured, error) {
		scope := lab.Scope()
		if err := openAll(ctx, nodes.Processes, scope); err != nil {
			return Measured{}, err
		}
		p, err := holder(ctx, lab, nodes, scope, "frozen")
		if err != nil {
			return Measured{}, err
		}
		reader := nodes.Processes[1]
		if _, err := ask(ctx, reader, Request{Verb: "whereis", Name: "frozen"}); err != nil {
			return Measured{}, err
		}
		if _, err := ask(ctx, reader, Request{Verb: "gone", Name: "frozen"}); err != nil {
			return Measured{}, err
		}
		at, err := p.Signal(stop)
		if err != nil {
			return Measured{}, err
		}
		a, err := ask(ctx, reader, Request{Verb: "collect"})
		if _, err := p.Signal(cont); err != nil {
			return Measured{}, err
		}
		p.Kill()
		return Measured{Samples: []time.Duration{time.Duration(a.At - at)}}, err
	}, nil
}
