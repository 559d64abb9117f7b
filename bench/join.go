package bench

import (
	"context"
	"fmt"
)

// How long until a fresh process has all names?
func joinQuestion() Question {
	return Question{
		Name: "join", Text: "How long until a process that opens the registry has all names?",
		Cases: []Case{
			{Name: "10,000 names", Work: "one process that opens the registry", Systems: []System{{Name: "toolbus", Start: startJoin(10_000)}}},
			{Name: "100,000 names", Rounds: 3, Work: "one process that opens the registry", Systems: []System{{Name: "toolbus", Start: startJoin(100_000)}}},
		},
	}
}

func startJoin(names int) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		scope := lab.Scope()
		if _, err := ask(ctx, nodes.Processes[0], Request{Verb: "open", Scope: scope}); err != nil {
			return nil, err
		}
		if _, err := ask(ctx, nodes.Processes[0], Request{Verb: "hold", Name: "fill", N: names}); err != nil {
			return nil, err
		}
		return func(ctx context.Context) (Measured, error) {
			p, err := lab.Client(ctx, "fresh", nodes.URL(1))
			if err != nil {
				return Measured{}, err
			}
			defer p.end()
			before := lab.cpu()
			a, err := ask(ctx, p, Request{Verb: "open", Scope: scope})
			if err == nil && a.N != names {
				err = fmt.Errorf("the view has %d names", a.N)
			}
			return Measured{Ops: 1, Elapsed: a.Elapsed, CPU: lab.cpu() - before}, err
		}, nil
	}
}
