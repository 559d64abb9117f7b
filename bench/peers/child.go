package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/toolbus/toolbus/bench"
)

// request is what a process of a peer is asked to do, reply what it found. They have the members of those of package bench, as far as peers need them.
type request struct {
	Verb    string `json:"verb"`
	Name    string `json:"name,omitempty"`
	Dir     string `json:"dir,omitempty"`
	Client  string `json:"client,omitempty"`
	Peer    string `json:"peer,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	Prefix  string `json:"prefix,omitempty"`
	N       int    `json:"n,omitempty"`
	Many    int    `json:"many,omitempty"`
	Size    int    `json:"size,omitempty"`
	At      int64  `json:"at,omitempty"`
	TTL     int    `json:"ttl,omitempty"` // seconds
}

type reply struct {
	At      int64           `json:"at,omitempty"`
	Ats     []int64         `json:"ats,omitempty"`
	N       int             `json:"n,omitempty"`
	Elapsed time.Duration   `json:"elapsed,omitempty"`
	Samples []time.Duration `json:"samples,omitempty"`
	OK      bool            `json:"ok,omitempty"`
}

// verbs are what a child can do.
type verbs map[string]func(context.Context, request) (reply, error)

// serve is a process of a peer: it does what the lab asks on stdin until that ends.
func serve(can verbs) int {
	err := bench.Serve(context.Background(), os.Stdin, os.Stdout, func(ctx context.Context, line json.RawMessage) (any, error) {
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, err
		}
		do, ok := can[r.Verb]
		if !ok {
			return nil, fmt.Errorf("no verb %q", r.Verb)
		}
		return do(ctx, r)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// mono reads the clock that all processes of the machine share.
func mono() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // the clock exists
	}
	return t.Nano()
}

// timed does n things, so many at once, and says how long each took.
func timed(n, many int, do func(i int) error) (reply, error) {
	samples := make([]time.Duration, n)
	next := make(chan int)
	var first error
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for range max(1, many) {
		all.Go(func() {
			for i := range next {
				began := time.Now()
				if err := do(i); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
				samples[i] = time.Since(began)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return reply{N: n, Elapsed: time.Since(began), Samples: samples}, first
}

// ask asks a process of a peer.
func ask(ctx context.Context, p *bench.Process, r request) (reply, error) {
	var a reply
	err := p.Ask(ctx, r, &a)
	return a, err
}

// askAll asks several processes at once.
func askAll(ctx context.Context, ps []*bench.Process, r func(i int) request) ([]reply, error) {
	out, errs := make([]reply, len(ps)), make([]error, len(ps))
	var all sync.WaitGroup
	for i, p := range ps {
		all.Go(func() { out[i], errs[i] = ask(ctx, p, r(i)) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// contend has each of three processes claim each of sixty names at the same moment. The last answer counts, and there must be one winner.
func contend(ctx context.Context, ps []*bench.Process, prefix string) (bench.Measured, error) {
	var m bench.Measured
	for n := range 60 {
		at := mono() + int64(3*time.Millisecond)
		answers, err := askAll(ctx, ps, func(int) request { return request{Verb: "claim", Name: fmt.Sprintf("%s-%d", prefix, n), At: at} })
		if err != nil {
			return m, err
		}
		won, last := 0, time.Duration(0)
		for _, a := range answers {
			if a.OK {
				won++
			}
			last = max(last, a.Elapsed)
		}
		if won != 1 {
			return m, fmt.Errorf("%d winners of one name", won)
		}
		m.Samples = append(m.Samples, last)
	}
	return m, nil
}

func measured(a reply, err error) (bench.Measured, error) {
	return bench.Measured{Samples: a.Samples, Ops: a.N, Elapsed: a.Elapsed}, err
}
