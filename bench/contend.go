package bench

import (
	"context"
	"fmt"
	"time"
)

// How long until three that claim one name at the same moment know who has it?
func contendQuestion() Question {
	return Question{
		Name: "contend", Text: "How long until three that claim one name at the same moment know who has it?",
		Cases: []Case{{Name: "three claimants", Work: "one name, claimed on each of three nodes; the last answer counts", Systems: []System{
			{Name: "publish", Floor: true, Start: startPublish(60, 1)},
			{Name: "toolbus", Start: startContend},
		}}},
	}
}

func startContend(ctx context.Context, lab *Lab) (Round, error) {
	nodes, err := lab.Cluster(ctx, 3)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (Measured, error) {
		var m Measured
		if err := openScope(ctx, lab, nodes.Processes, 0); err != nil {
			return m, err
		}
		// Sessions first: opening one is no part of a claim.
		if _, err := all(ctx, nodes.Processes, func(i int) Request { return Request{Verb: "register", Name: fmt.Sprintf("own%d", i), N: 1} }); err != nil {
			return m, err
		}
		for n := range 60 {
			at := mono() + int64(3*time.Millisecond)
			answers, err := all(ctx, nodes.Processes, func(int) Request { return Request{Verb: "claim", Name: fmt.Sprintf("wanted-%d", n), At: at} })
			if err != nil {
				return m, err
			}
			winners, last := 0, time.Duration(0)
			for _, a := range answers {
				if a.OK {
					winners++
				}
				last = max(last, a.Elapsed)
			}
			if winners != 1 {
				return m, fmt.Errorf("%d winners of one name", winners)
			}
			m.Samples = append(m.Samples, last)
		}
		return m, nil
	}, nil
}
