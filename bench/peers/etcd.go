package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/toolbus/toolbus/bench"
	"github.com/toolbus/toolbus/bus"
)

// etcdSystems are what etcd is measured in.
func etcdSystems() map[string][]bench.System {
	one := func(name string, start func(context.Context, *bench.Lab) (bench.Round, error)) []bench.System {
		return []bench.System{{Name: name, Start: start}}
	}
	return map[string][]bench.System{
		"register/one by one":                one("etcd", etcdRegister("register", 1)),
		"register/pipelined":                 one("etcd", etcdRegister("register", 64)),
		"register/in one call":               one("etcd, 64 a transaction", etcdRegister("batch", 1)),
		"contend/three claimants":            one("etcd", etcdContend),
		"gone/a process":                     one("etcd, TTL 2 s", etcdGone),
		"writes/after kill -9 of the leader": one("etcd", etcdWrites),
	}
}

// etcdCluster starts three members, each a process.
func etcdCluster(ctx context.Context, lab *bench.Lab) (members []*bench.Process, clients []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	addrs, err := bus.FreeAddrs(6)
	if err != nil {
		return nil, nil, err
	}
	var cluster []string
	for i := range 3 {
		cluster = append(cluster, fmt.Sprintf("e%d=http://%s", i, addrs[3+i]))
	}
	for i := range 3 {
		p, err := lab.Start(fmt.Sprintf("etcd %d", i), self, etcdWord)
		if err != nil {
			return nil, nil, err
		}
		members, clients = append(members, p), append(clients, "http://"+addrs[i])
	}
	dirs := make([]string, 3)
	for i := range dirs {
		if dirs[i], err = lab.Dir(fmt.Sprintf("etcd-%s-%d", lab.Scope(), i)); err != nil {
			return nil, nil, err
		}
	}
	_, err = askAll(ctx, members, func(i int) request {
		return request{Verb: "start", Name: fmt.Sprintf("e%d", i), Dir: dirs[i], Client: clients[i], Peer: "http://" + addrs[3+i], Cluster: strings.Join(cluster, ",")}
	})
	return members, clients, err
}

func etcdRegister(verb string, many int) func(context.Context, *bench.Lab) (bench.Round, error) {
	return func(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
		members, _, err := etcdCluster(ctx, lab)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (bench.Measured, error) {
			return measured(ask(ctx, members[0], request{Verb: verb, Prefix: lab.Scope(), N: 1000, Many: many}))
		}, nil
	}
}

func etcdContend(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
	members, _, err := etcdCluster(ctx, lab)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (bench.Measured, error) { return contend(ctx, members, lab.Scope()) }, nil
}

// etcdGone kills clients whose keys hang on the shortest lease that etcd keeps reliably with its default timing.
func etcdGone(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
	members, clients, err := etcdCluster(ctx, lab)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (bench.Measured, error) {
		var m bench.Measured
		for range 3 {
			name := lab.Scope()
			p, err := lab.Start("etcd client", self, etcdWord)
			if err != nil {
				return m, err
			}
			if _, err := ask(ctx, p, request{Verb: "connect", Client: clients[2]}); err != nil {
				return m, err
			}
			if _, err := ask(ctx, p, request{Verb: "hold", Name: name, TTL: 2}); err != nil {
				return m, err
			}
			if _, err := ask(ctx, members[1], request{Verb: "gone", Name: name}); err != nil {
				return m, err
			}
			at := p.Kill()
			a, err := ask(ctx, members[1], request{Verb: "collect"})
			if err != nil {
				return m, err
			}
			m.Samples = append(m.Samples, time.Duration(a.At-at))
		}
		return m, nil
	}, nil
}

func etcdWrites(_ context.Context, lab *bench.Lab) (bench.Round, error) {
	return func(ctx context.Context) (bench.Measured, error) {
		members, _, err := etcdCluster(ctx, lab)
		if err != nil {
			return bench.Measured{}, err
		}
		answers, err := askAll(ctx, members, func(int) request { return request{Verb: "leads"} })
		if err != nil {
			return bench.Measured{}, err
		}
		leader := 0
		for i, a := range answers {
			if a.OK {
				leader = i
			}
		}
		other := members[(leader+1)%3]
		if _, err := ask(ctx, other, request{Verb: "write", Prefix: "w", At: mono() + int64(12*time.Second)}); err != nil {
			return bench.Measured{}, err
		}
		time.Sleep(500 * time.Millisecond)
		at := members[leader].Kill()
		a, err := ask(ctx, other, request{Verb: "collect"})
		if err != nil {
			return bench.Measured{}, err
		}
		gap, err := bench.Pause(a.Ats, at)
		for _, p := range members {
			p.Kill()
		}
		return bench.Measured{Samples: []time.Duration{gap}}, err
	}, nil
}
