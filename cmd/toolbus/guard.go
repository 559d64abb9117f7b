package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/servers/bridge"
)

// guardCommand is what a bridge starts its children under. run answers it before there is a command line to read; the row is here so that the
// word is taken.
func guardCommand(*env) *cobra.Command {
	return &cobra.Command{
		Use:                "guard",
		Short:              "hold one child of a bridge",
		DisableFlagParsing: true,
		Run:                func(_ *cobra.Command, args []string) { os.Exit(bridge.GuardMain(args)) },
	}
}
