package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/toolbus/toolbus/bench"
	"github.com/toolbus/toolbus/bus"
)

// natsSystems are what plain NATS is measured in: a bucket used by hand, on servers with their defaults, which sync to disk every two minutes.
func natsSystems() map[string][]bench.System {
	one := func(start func(context.Context, *bench.Lab) (bench.Round, error)) []bench.System {
		return []bench.System{{Name: "NATS KV by hand, not synced", Start: start}}
	}
	return map[string][]bench.System{
		"register/one by one":     one(natsRegister(1)),
		"register/pipelined":      one(natsRegister(64)),
		"contend/three claimants": one(natsContend),
	}
}

func natsCluster(ctx context.Context, lab *bench.Lab) ([]*bench.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addrs, err := bus.FreeAddrs(3)
	if err != nil {
		return nil, err
	}
	var servers []*bench.Process
	for i := range 3 {
		p, err := lab.Start(fmt.Sprintf("nats %d", i), self, natsWord)
		if err != nil {
			return nil, err
		}
		servers = append(servers, p)
	}
	dirs := make([]string, 3)
	for i := range dirs {
		if dirs[i], err = lab.Dir(fmt.Sprintf("nats-%s-%d", lab.Scope(), i)); err != nil {
			return nil, err
		}
	}
	_, err = askAll(ctx, servers, func(i int) request {
		return request{Verb: "start", Name: fmt.Sprintf("s%d", i), Dir: dirs[i], Peer: addrs[i], Cluster: strings.Join(addrs, ",")}
	})
	return servers, err
}

func natsRegister(many int) func(context.Context, *bench.Lab) (bench.Round, error) {
	return func(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
		servers, err := natsCluster(ctx, lab)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (bench.Measured, error) {
			return measured(ask(ctx, servers[0], request{Verb: "register", Prefix: lab.Scope(), N: 1000, Many: many}))
		}, nil
	}
}

func natsContend(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
	servers, err := natsCluster(ctx, lab)
	if err != nil {
		return nil, err
	}
	if _, err := ask(ctx, servers[0], request{Verb: "claim", Name: "first"}); err != nil { // makes the bucket
		return nil, err
	}
	return func(ctx context.Context) (bench.Measured, error) { return contend(ctx, servers, lab.Scope()) }, nil
}
