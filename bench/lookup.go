package bench

import "context"

// How long does a look-up take among 100,000 names, drawn at random?
func lookupQuestion() Question {
	const names = 100_000
	return Question{
		Name: "lookup", Text: "How long does a look-up take, on one core, with names drawn at random from all of them?",
		Cases: []Case{{Name: "100,000 names", Work: "one look-up", Systems: []System{
			{Name: "map", Floor: true, Start: startLookup(names, true)},
			{Name: "toolbus", Start: startLookup(names, false)},
		}}},
	}
}

func startLookup(names int, bare bool) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		if err := openScope(ctx, lab, nodes.Processes, names); err != nil {
			return nil, err
		}
		p := nodes.Processes[1] // another than the one that registered
		if _, err := ask(ctx, p, Request{Verb: "whereis", Name: name("fill", names-1)}); err != nil {
			return nil, err
		}
		request := Request{Verb: "lookup", N: 1_000_000}
		if bare {
			request.Size = 1
		}
		return func(ctx context.Context) (Measured, error) {
			a, err := ask(ctx, p, request)
			return Measured{Ops: a.N, Elapsed: a.Elapsed, Values: map[string]float64{"allocs": a.Bytes}}, err
		}, nil
	}
}
