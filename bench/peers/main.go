package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/toolbus/toolbus/bench"
)

// The words that make this program one of the processes of a lab.
const (
	etcdWord = "etcd-child"
	natsWord = "nats-child"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case bench.ChildWord:
			os.Exit(bench.ChildMain(os.Stdin, os.Stdout))
		case bench.EchoWord:
			os.Exit(bench.EchoMain(context.Background()))
		case etcdWord:
			os.Exit(serve(newEtcdChild()))
		case natsWord:
			os.Exit(serve(newNatsChild()))
		}
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	rounds := flag.Int("rounds", 5, "how often each system is measured, taking turns")
	output := flag.String("o", "text", "text or json")
	flag.Parse()
	questions := bench.Questions()
	for _, more := range []map[string][]bench.System{etcdSystems(), natsSystems(), erlangSystems()} {
		if unknown := bench.With(questions, more); len(unknown) > 0 {
			return fmt.Errorf("no such cases: %v", unknown)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	opts := &bench.Options{
		Questions: questions, Only: flag.Args(), Rounds: *rounds,
		Progress: func(question, system string, round, rounds int) {
			fmt.Fprintf(os.Stderr, "%s: %s, %d of %d\n", question, system, round, rounds)
		},
	}
	program, remove, err := buildToolbus(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the toolbus program could not be built, so its commands are not measured:", err)
	}
	defer remove()
	opts.Toolbus = program
	report, err := bench.Run(ctx, opts)
	if err != nil {
		return err
	}
	if *output == "json" {
		return report.WriteJSON(os.Stdout)
	}
	return report.WriteText(os.Stdout)
}

// buildToolbus builds the program beside which the others are measured.
func buildToolbus(ctx context.Context) (program string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "toolbus-peers-")
	if err != nil {
		return "", func() {}, err
	}
	remove = func() { _ = os.RemoveAll(dir) } // a temporary folder
	program = filepath.Join(dir, "toolbus")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/toolbus/toolbus/cmd/toolbus").CombinedOutput(); err != nil {
		return "", remove, fmt.Errorf("%w: %s", err, out)
	}
	return program, remove, nil
}
