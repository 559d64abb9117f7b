package bench

import (
	"context"
	"fmt"
	"time"
)

// How long until those who watch know of a name?
func watchQuestion() Question {
	q := Question{Name: "watch", Text: "How long after a registration began do the watchers of other nodes know of it?"}
	for _, watchers := range []int{1, 100} {
		q.Cases = append(q.Cases, Case{Name: fmt.Sprintf("%d watchers on each of two nodes", watchers), Work: "one registration, until the last has it", Systems: []System{
			{Name: "toolbus", Start: startWatch(watchers)},
		}})
	}
	return q
}

func startWatch(watchers int) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 3)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (Measured, error) {
			var m Measured
			if err := openScope(ctx, lab, nodes.Processes, 0); err != nil {
				return m, err
			}
			readers := nodes.Processes[1:]
			for n := range 30 {
				// The name of the scope's first session is there already, and counts.
				if _, err := all(ctx, readers, func(int) Request { return Request{Verb: "seen", N: n + 2, Many: watchers} }); err != nil {
					return m, err
				}
				began := mono()
				if _, err := ask(ctx, nodes.Processes[0], Request{Verb: "hold", Name: fmt.Sprintf("new-%d", n)}); err != nil {
					return m, err
				}
				answers, err := all(ctx, readers, func(int) Request { return Request{Verb: "collect"} })
				if err != nil {
					return m, err
				}
				last := began
				for _, a := range answers {
					for _, at := range a.Ats {
						last = max(last, at)
					}
				}
				m.Samples = append(m.Samples, time.Duration(last-began))
			}
			return m, nil
		}, nil
	}
}
