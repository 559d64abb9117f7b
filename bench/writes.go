package bench

import (
	"context"
	"errors"
	"time"
)

// How long do writes stop when the node that leads the log is killed?
func writesQuestion() Question {
	return Question{
		Name: "writes", Text: "How long do writes stop after kill -9 of the node that leads the log?",
		Cases: []Case{{Name: "after kill -9 of the leader", Rounds: 5, Work: "the longest pause between two acknowledged writes on another node", Systems: []System{
			{Name: "toolbus", Start: startWrites},
		}}},
	}
}

func startWrites(ctx context.Context, lab *Lab) (Round, error) {
	return func(ctx context.Context) (Measured, error) {
		nodes, victim, err := clusterWith(ctx, lab, true)
		if err != nil {
			return Measured{}, err
		}
		rest := others(nodes.Processes, victim)
		const length = 12 * time.Second
		if _, err := ask(ctx, rest[0], Request{Verb: "write", At: mono() + int64(length)}); err != nil {
			return Measured{}, err
		}
		select {
		case <-time.After(500 * time.Millisecond): // some writes before
		case <-ctx.Done():
			return Measured{}, ctx.Err()
		}
		at := nodes.Processes[victim].Kill()
		answer, err := ask(ctx, rest[0], Request{Verb: "collect"})
		if err != nil {
			return Measured{}, err
		}
		pause, err := Pause(answer.Ats, at)
		for _, p := range rest {
			p.end()
		}
		return Measured{Samples: []time.Duration{pause}}, err
	}, nil
}

// Pause is the longest time between two acknowledgements, from the last one before a kill on.
func Pause(ats []int64, killed int64) (time.Duration, error) {
	if len(ats) == 0 || ats[0] > killed {
		return 0, errors.New("nothing was written before the kill")
	}
	if ats[len(ats)-1] < killed {
		return 0, errors.New("nothing was written after the kill")
	}
	longest := int64(0)
	for i := 1; i < len(ats); i++ {
		if ats[i] >= killed {
			longest = max(longest, ats[i]-max(ats[i-1], killed))
		}
	}
	return time.Duration(longest), nil
}
