package bench

import (
	"context"
	"fmt"
)

// What does a call of a tool cost, by the way that it takes?
func callQuestion() Question {
	q := Question{Name: "call", Text: "What does tools/call of an echo cost, with the official SDK at both ends, by the way that it takes?"}
	for _, c := range []struct{ callers, size int }{{1, 64}, {64, 64}, {256, 64}, {1, 8 << 10}, {1, 100 << 10}, {1, 8 << 20}} {
		q.Cases = append(q.Cases, Case{
			Name: fmt.Sprintf("%d at once, %s", c.callers, bytesText(c.size)), Work: "one call",
			Systems: []System{
				{Name: "NATS request", Floor: true, Start: rawCall(c.callers, c.size)},
				{Name: "in process", Start: startCall(c.callers, c.size, "memory")},
				{Name: "stdio", Start: startCall(c.callers, c.size, "stdio")},
				{Name: "Streamable HTTP", Start: startCall(c.callers, c.size, "http")},
				{Name: "toolbus", Start: startBusCall(c.callers, c.size)},
			},
		})
	}
	return q
}

func bytesText(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// rawCall is a NATS request of that size, as far as one message carries it.
func rawCall(callers, size int) func(context.Context, *Lab) (Round, error) {
	return startEcho(min(size, 1<<20-1<<10), callers, false)
}

// startCall calls without a bus: inside one process, a child on stdio, or HTTP on loopback between two processes.
func startCall(callers, size int, way string) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		client, err := lab.Start(way+" client", lab.command...)
		if err != nil {
			return nil, err
		}
		request := Request{Verb: way}
		switch way {
		case "stdio":
			request.Command = lab.echo()
		case "http":
			server, err := lab.Start("http server", lab.command...)
			if err != nil {
				return nil, err
			}
			a, err := ask(ctx, server, Request{Verb: "listen"})
			if err != nil {
				return nil, err
			}
			request.URL = a.URL
		}
		a, err := ask(ctx, client, request)
		if err != nil {
			return nil, err
		}
		if a.PID != 0 {
			lab.Count(a.PID)
		}
		return callRound(client, callers, size), nil
	}
}

func callRound(client *Process, callers, size int) Round {
	return askRound(client, Request{Verb: "call", N: calls(callers, size), Many: callers, Size: size})
}

// startBusCall calls a server of another process by its name, through one node.
func startBusCall(callers, size int) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 1)
		if err != nil {
			return nil, err
		}
		scope := lab.Scope()
		server, err := lab.Client(ctx, "server", nodes.URL(0))
		if err != nil {
			return nil, err
		}
		client, err := lab.Client(ctx, "client", nodes.URL(0))
		if err != nil {
			return nil, err
		}
		for _, p := range []*Process{nodes.Processes[0], server, client} {
			if _, err := ask(ctx, p, Request{Verb: "open", Scope: scope}); err != nil {
				return nil, err
			}
			if p == server {
				if _, err := ask(ctx, p, Request{Verb: "serve", Name: "echo"}); err != nil {
					return nil, err
				}
			}
		}
		if _, err := ask(ctx, client, Request{Verb: "dial", Name: "echo"}); err != nil {
			return nil, err
		}
		return callRound(client, callers, size), nil
	}
}
