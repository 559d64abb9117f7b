package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/toolbus/toolbus/bench"
)

//go:embed erlang/bench_peer.erl
var erlangSource []byte

// erlangSystems are what global and pg are measured in.
func erlangSystems() map[string][]bench.System {
	one := func(name string, start func(context.Context, *bench.Lab) (bench.Round, error)) []bench.System {
		return []bench.System{{Name: name, Start: start}}
	}
	return map[string][]bench.System{
		"register/one by one":     one("Erlang global and pg, in memory", erlangRegister(1)),
		"register/pipelined":      one("Erlang global and pg, in memory", erlangRegister(64)),
		"contend/three claimants": one("Erlang global", erlangContend),
		"lookup/100,000 names":    one("Erlang global", erlangLookup(100_000)),
		"group/10 members":        one("Erlang pg", erlangMembers(10)),
		"group/1000 members":      one("Erlang pg", erlangMembers(1000)),
		"gone/a process":          one("Erlang global", erlangGone),
		"call/1 at once, 64 B":    one("Erlang gen_server:call, no MCP", erlangCall(1, 64)),
		"call/64 at once, 64 B":   one("Erlang gen_server:call, no MCP", erlangCall(64, 64)),
		"call/256 at once, 64 B":  one("Erlang gen_server:call, no MCP", erlangCall(256, 64)),
	}
}

// vms starts Erlang nodes that know one another, or one alone. Each belongs to a lab of its own by its name and cookie.
func vms(ctx context.Context, lab *bench.Lab, n int) ([]*bench.Process, error) {
	erl, err := exec.LookPath("erl")
	if err != nil {
		return nil, fmt.Errorf("erl: %w", bench.ErrMissing)
	}
	erlc, err := exec.LookPath("erlc")
	if err != nil {
		return nil, fmt.Errorf("erlc: %w", bench.ErrMissing)
	}
	dir, err := lab.Dir("erlang")
	if err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "bench_peer.erl")
	if err := os.WriteFile(source, erlangSource, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, erlc, "-o", dir, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("erlc: %w: %s", err, out)
	}
	var nodes []*bench.Process
	var names []string
	for i := range n {
		name := fmt.Sprintf("toolbus%d_%s_%d@localhost", os.Getpid(), strings.ReplaceAll(lab.Scope(), "-", "_"), i)
		p, err := lab.Start(fmt.Sprintf("erl %d", i), erl, "-noshell", "-sname", name, "-setcookie", fmt.Sprintf("toolbus%d", os.Getpid()), "-pa", dir,
			"-kernel", "inet_dist_use_interface", "{127,0,0,1}", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "+P", "1000000",
			"-eval", "bench_peer:start().")
		if err != nil {
			return nil, err
		}
		nodes, names = append(nodes, p), append(names, name)
	}
	if n == 1 {
		return nodes, nil
	}
	for _, p := range nodes { // one after the other: each must answer before another pings it
		if _, err := ask(ctx, p, request{Verb: "join"}); err != nil {
			return nil, err
		}
	}
	for _, p := range nodes {
		if _, err := ask(ctx, p, request{Verb: "join", Cluster: strings.Join(names, ",")}); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// onVMs starts nodes and asks the last of them each round.
func onVMs(n int, prepare, round request) func(context.Context, *bench.Lab) (bench.Round, error) {
	return func(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
		nodes, err := vms(ctx, lab, n)
		if err != nil {
			return nil, err
		}
		if prepare.Verb != "" {
			if _, err := ask(ctx, nodes[0], prepare); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context) (bench.Measured, error) { return measured(ask(ctx, nodes[n-1], round)) }, nil
	}
}

func erlangRegister(many int) func(context.Context, *bench.Lab) (bench.Round, error) {
	return onVMs(3, request{}, request{Verb: "register", Prefix: "r", N: 1000, Many: many})
}

// erlangLookup has one node alone: look-ups read a table of their own node in any case, and with others global takes many minutes for so many names.
func erlangLookup(names int) func(context.Context, *bench.Lab) (bench.Round, error) {
	return onVMs(1, request{Verb: "fill", N: names}, request{Verb: "lookup", N: 1_000_000, Size: names})
}

func erlangMembers(n int) func(context.Context, *bench.Lab) (bench.Round, error) {
	return onVMs(1, request{}, request{Verb: "members", N: 100_000, Size: n})
}

func erlangCall(callers, size int) func(context.Context, *bench.Lab) (bench.Round, error) {
	return onVMs(2, request{Verb: "serve", Name: "echo"}, request{Verb: "call", Name: "echo", N: max(2000, 16*callers), Many: callers, Size: size})
}

func erlangContend(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
	nodes, err := vms(ctx, lab, 3)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (bench.Measured, error) { return contend(ctx, nodes, lab.Scope()) }, nil
}

func erlangGone(ctx context.Context, lab *bench.Lab) (bench.Round, error) {
	nodes, err := vms(ctx, lab, 3)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (bench.Measured, error) {
		var m bench.Measured
		for range 10 {
			name := lab.Scope()
			if _, err := ask(ctx, nodes[0], request{Verb: "hold", Name: name}); err != nil {
				return m, err
			}
			if _, err := ask(ctx, nodes[1], request{Verb: "gone", Name: name}); err != nil {
				return m, err
			}
			killed, err := ask(ctx, nodes[0], request{Verb: "kill", Name: name})
			if err != nil {
				return m, err
			}
			a, err := ask(ctx, nodes[1], request{Verb: "collect"})
			if err != nil {
				return m, err
			}
			m.Samples = append(m.Samples, time.Duration(a.At-killed.At))
		}
		return m, nil
	}, nil
}
