package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func whereisCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "whereis NAME",
		Short:             "say where one server is; exit 6 if nowhere",
		Example:           "toolbus whereis everything\nif toolbus whereis everything -q >/dev/null; then ...",
		Args:              exactArgs(1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, l, done, err := e.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			rec, state, err := e.lookup(ctx, l, args[0])
			if err != nil {
				return err
			}
			switch {
			case e.out.machine():
				return e.out.document(e.describe(rec, state))
			case e.out.format == formatName:
				return e.out.lines([]string{rec.Name})
			}
			return e.out.table([]string{"NODE", "STATE", "HOST", "PID", "INSTANCE", "TOKEN", "REVISION"}, [][]string{{
				rec.Node, e.out.state(state), rec.Host, nonZero(rec.PID), rec.Instance, fmt.Sprint(rec.Token), fmt.Sprint(rec.Revision),
			}})
		},
	}
}
