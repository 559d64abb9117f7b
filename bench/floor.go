package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What does the machine itself take for the parts that everything is made of?
func floorQuestion() Question {
	return Question{
		Name: "floor", Text: "What does this machine take for the parts that everything is made of?",
		Cases: []Case{
			{Name: "one fsync", Work: "300 bytes appended to a file and synced", Systems: []System{{Name: "fsync", Floor: true, Start: startFsync}}},
			{Name: "one round trip", Work: "64 bytes there and back between two processes", Systems: []System{
				{Name: "loopback", Floor: true, Start: startEcho(64, 1, true)},
				{Name: "NATS request", Start: startEcho(64, 1, false)},
			}},
		},
	}
}

func startFsync(_ context.Context, lab *Lab) (Round, error) {
	dir, err := lab.Dir("fsync")
	if err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return nil, err
	}
	lab.Closed(func() { _ = f.Close() }) // the file is removed
	data := make([]byte, 300)
	return func(context.Context) (Measured, error) {
		var m Measured
		for range 200 {
			began := time.Now()
			if _, err := f.Write(data); err != nil {
				return m, err
			}
			if err := f.Sync(); err != nil {
				return m, err
			}
			m.Samples = append(m.Samples, time.Since(began))
		}
		return m, nil
	}, nil
}

// startEcho sends bytes there and back: over a loopback connection between two processes, or as NATS requests through a node, from so many callers at once.
func startEcho(size, callers int, loopback bool) func(context.Context, *Lab) (Round, error) {
	return func(ctx context.Context, lab *Lab) (Round, error) {
		nodes, err := lab.Cluster(ctx, 1)
		if err != nil {
			return nil, err
		}
		server, err := lab.Client(ctx, "echo server", nodes.URL(0))
		if err != nil {
			return nil, err
		}
		client, err := lab.Client(ctx, "echo client", nodes.URL(0))
		if err != nil {
			return nil, err
		}
		subject := fmt.Sprintf("bench.echo.%s", lab.Scope())
		answer, err := ask(ctx, server, Request{Verb: "raw", Name: subject})
		if err != nil {
			return nil, err
		}
		request := Request{Verb: "echo", Name: subject, N: calls(callers, size), Many: callers, Size: size}
		if loopback {
			request.URL = answer.URL
		}
		return askRound(client, request), nil
	}
}

// askRound asks a process for one round.
func askRound(p *Process, request Request) Round {
	return func(ctx context.Context) (Measured, error) {
		a, err := ask(ctx, p, request)
		return Measured{Samples: a.Samples, Ops: a.N, Elapsed: a.Elapsed}, err
	}
}

// calls is how many calls a round makes: enough for a percentile, few enough for large ones.
func calls(callers, size int) int {
	switch {
	case size >= 1<<20:
		return max(callers, 16)
	case size >= 64<<10:
		return max(callers, 200)
	}
	return max(1000, 16*callers)
}
