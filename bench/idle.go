package bench

import (
	"context"
	"fmt"
	"time"
)

// What do sessions cost that do nothing?
func idleQuestion() Question {
	return Question{
		Name: "idle", Text: "What do sessions cost that do nothing, on three nodes, above the same connections without us?",
		Cases: []Case{
			idleCase(100, 10),
			idleCase(300, 1),
		},
	}
}

func idleCase(processes, each int) Case {
	return Case{
		Name: fmt.Sprintf("%d sessions in %d processes", processes*each, processes), Rounds: 1, Work: "one second of all processes",
		Systems: []System{
			{Name: "connections alone", Floor: true, Start: startIdle(processes, 0)},
			{Name: "toolbus", Start: startIdle(processes, each)},
		},
	}
}

// startIdle has so many processes with so many sessions each, and measures for ten seconds what all of them use. Each system has its own processes, which end
// before the next one starts.
func startIdle(processes, each int) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		return func(ctx context.Context) (Measured, error) {
			nodes, err := lab.FreshCluster(ctx, 3)
			if err != nil {
				return Measured{}, err
			}
			scope := lab.Scope()
			if each > 0 {
				if err := openAll(ctx, nodes.Processes, scope); err != nil {
					return Measured{}, err
				}
			}
			var clients []*Process
			for i := range processes {
				p, err := lab.Client(ctx, fmt.Sprintf("idle %d", i), nodes.URL(i%3))
				if err != nil {
					return Measured{}, err
				}
				clients = append(clients, p)
				if each == 0 {
					continue
				}
				if _, err := ask(ctx, p, Request{Verb: "open", Scope: scope}); err != nil {
					return Measured{}, err
				}
				if _, err := ask(ctx, p, Request{Verb: "sessions", Name: fmt.Sprintf("idle-%d", i), N: each}); err != nil {
					return Measured{}, err
				}
			}
			if err := pause(ctx, 3*time.Second); err != nil { // what the start has left to do
				return Measured{}, err
			}
			const length = 10 * time.Second
			before := lab.cpu()
			if err := pause(ctx, length); err != nil {
				return Measured{}, err
			}
			spent := lab.cpu() - before
			m := Measured{Ops: int(length / time.Second), Elapsed: length, CPU: spent, Values: map[string]float64{"% of a core": 100 * spent.Seconds() / length.Seconds()}}
			var rss int64
			for _, p := range clients {
				rss += rssOf(p.PID())
			}
			m.Values["MB a process"] = float64(rss) / float64(len(clients)) / 1e6
			for _, p := range append(clients, nodes.Processes...) {
				p.Kill()
			}
			return m, nil
		}, nil
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
