package bench

import (
	"context"
	"fmt"
)

// What does the whole path add: client, shim, bus, bridge, server on stdio?
func pathQuestion() Question {
	q := Question{Name: "path", Text: "What does the whole path add to a server on stdio: client, shim, node, bridge, server?"}
	for _, callers := range []int{1, 64} {
		q.Cases = append(q.Cases, Case{
			Name: fmt.Sprintf("%d at once, 64 B", callers), Work: "one call",
			Systems: []System{
				{Name: "NATS request", Floor: true, Start: rawCall(callers, 64)},
				{Name: "stdio", Start: startCall(callers, 64, "stdio")},
				{Name: "toolbus shim and run", Start: startPath(callers)},
			},
		})
	}
	return q
}

// startPath runs the commands that people run. They need the program itself.
func startPath(callers int) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		if lab.toolbus == "" {
			return nil, fmt.Errorf("the toolbus program is not given: %w", ErrMissing)
		}
		nodes, err := lab.Cluster(ctx, 1)
		if err != nil {
			return nil, err
		}
		scope := lab.Scope()
		if _, err := ask(ctx, nodes.Processes[0], Request{Verb: "open", Scope: scope}); err != nil {
			return nil, err
		}
		args := []string{lab.toolbus, "-s", nodes.URL(0), "--scope", scope}
		run, err := lab.Start("toolbus run", append(append(args, "run", "echo", "--"), lab.echo()...)...)
		if err != nil {
			return nil, err
		}
		if _, err := ask(ctx, nodes.Processes[0], Request{Verb: "whereis", Name: "echo"}); err != nil {
			return nil, fmt.Errorf("%w (%s)", err, &run.stderr)
		}
		client, err := lab.Start("client", lab.command...)
		if err != nil {
			return nil, err
		}
		a, err := ask(ctx, client, Request{Verb: "stdio", Command: append(args, "shim", "echo")})
		if err != nil {
			return nil, err
		}
		lab.Count(a.PID)
		for _, pid := range childrenOf(run.PID()) { // the guard, and the server that it has started
			lab.Count(pid)
			for _, pid := range childrenOf(pid) {
				lab.Count(pid)
			}
		}
		return callRound(client, callers, 64), nil
	}
}
