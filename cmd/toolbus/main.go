package main

import (
	"os"

	"github.com/toolbus/toolbus/servers/bridge"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is the program. A guard is no command of people's: it must be small and quick, and nothing of the rest may stand in its way.
func run(args []string) int {
	if len(args) > 0 && args[0] == "guard" {
		return bridge.GuardMain(args[1:])
	}
	e := newEnv(os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	ctx, stop := withSignals(e.stderr)
	defer stop()
	return e.finish(ctx, e.execute(ctx, args))
}
