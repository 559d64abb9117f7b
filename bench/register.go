package bench

import (
	"context"
	"fmt"
)

// What does it take to register a thousand names with a membership each, durably, on three nodes?
func registerQuestion() Question {
	const names = 1000
	return Question{
		Name: "register", Text: "What does it take to register names, each with a group, durably, on three nodes?",
		Cases: []Case{
			{Name: "one by one", Work: "one of 1,000 registrations, each waited for", Systems: []System{
				{Name: "publish", Floor: true, Start: startPublish(names, 1)},
				{Name: "toolbus", Start: startRegister(names, 1, "tools")},
				{Name: "toolbus, name only", Start: startRegister(names, 1, "")},
			}},
			{Name: "pipelined", Work: "one of 1,000 registrations, 64 at a time", Systems: []System{
				{Name: "publish", Floor: true, Start: startPublish(names, 64)},
				{Name: "toolbus", Start: startRegister(names, 64, "tools")},
			}},
			{Name: "in one call", Work: "one of 1,000 registrations, in as few calls as the system has", Systems: []System{
				{Name: "publish", Floor: true, Start: startPublish(names, 64)},
				{Name: "toolbus", Start: startRegister(names, names+1, "tools")},
			}},
		},
	}
}

// startRegister has the first of three nodes register, in a scope that is new each round.
func startRegister(names, many int, group string) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (Measured, error) {
			if err := openScope(ctx, lab, nodes.Processes, 0); err != nil {
				return Measured{}, err
			}
			before := lab.cpu()
			a, err := ask(ctx, nodes.Processes[0], Request{Verb: "register", Name: "r", N: names, Many: many, Group: group})
			m := Measured{Samples: a.Samples, Ops: a.N, Elapsed: a.Elapsed, CPU: lab.cpu() - before}
			if err != nil {
				return m, err
			}
			// It counts only if the others see it.
			_, err = ask(ctx, nodes.Processes[2], Request{Verb: "whereis", Name: name("r", names-1)})
			return m, err
		}, nil
	}
}

// openScope opens a new scope in all processes, the first of them first: it makes the log.
func openScope(ctx context.Context, lab *Lab, processes []*Process, fill int) error {
	scope := lab.Scope()
	if _, err := ask(ctx, processes[0], Request{Verb: "open", Scope: scope}); err != nil {
		return err
	}
	// A session that opens before the measurement makes the log, and its opening is no part of a registration.
	if _, err := ask(ctx, processes[0], Request{Verb: "register", Name: "first", N: 1}); err != nil {
		return err
	}
	for _, p := range processes[1:] {
		if _, err := ask(ctx, p, Request{Verb: "open", Scope: scope}); err != nil {
			return err
		}
	}
	if fill == 0 {
		return nil
	}
	_, err := ask(ctx, processes[0], Request{Verb: "hold", Name: "fill", N: fill})
	return err
}

// startPublish publishes bare messages into a stream of three replicas: no registry can be durable for less.
func startPublish(n, many int) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		stream := fmt.Sprintf("floor-%s", lab.Scope())
		return askRound(nodes.Processes[0], Request{Verb: "publish", Name: stream, N: n, Many: many, Size: 3}), nil
	}
}
