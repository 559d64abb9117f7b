package bench

import (
	"context"
	"fmt"
)

// How long does it take to list a group?
func groupQuestion() Question {
	q := Question{Name: "group", Text: "How long does it take to list the members of a group?"}
	for _, members := range []int{10, 1000} {
		q.Cases = append(q.Cases, Case{Name: fmt.Sprintf("%d members", members), Work: "one query on a node that has none of them", Systems: []System{
			{Name: "toolbus", Start: startMembers(members)},
		}})
	}
	return q
}

func startMembers(members int) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		if err := openScope(ctx, lab, nodes.Processes, 0); err != nil {
			return nil, err
		}
		if _, err := ask(ctx, nodes.Processes[0], Request{Verb: "join", Name: "m", Group: "tools", N: members}); err != nil {
			return nil, err
		}
		p := nodes.Processes[1]
		// What joined is there once a name that came later is.
		if _, err := ask(ctx, nodes.Processes[0], Request{Verb: "hold", Name: "later"}); err != nil {
			return nil, err
		}
		if _, err := ask(ctx, p, Request{Verb: "whereis", Name: "later"}); err != nil {
			return nil, err
		}
		return func(ctx context.Context) (Measured, error) {
			a, err := ask(ctx, p, Request{Verb: "members", Group: "tools", N: 100_000})
			if err == nil && int(a.Bytes) != members {
				err = fmt.Errorf("%v members", a.Bytes)
			}
			return Measured{Ops: a.N, Elapsed: a.Elapsed}, err
		}, nil
	}
}
