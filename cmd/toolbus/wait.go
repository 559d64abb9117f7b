package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

func waitCommand(e *env) *cobra.Command {
	var what string
	cmd := &cobra.Command{
		Use:               "wait NAME [--for up|gone]",
		Short:             "wait until a name is there, or gone",
		Example:           "toolbus wait everything --timeout 30s && toolbus call everything echo message=hi\ntoolbus wait everything --for gone",
		Args:              exactArgs(1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if what != "up" && what != "gone" {
				return usage("--for takes up or gone", "cannot wait for %s", quote(what))
			}
			name, err := registry.ParseName(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), e.timeout)
			defer cancel()
			reg, done, err := e.follow(ctx)
			if err != nil {
				return err
			}
			defer done()
			for ev, err := range reg.Watch(ctx, &registry.WatchOptions{Name: name}) {
				if err != nil {
					return err
				}
				rec, err := reg.Describe(name)
				switch {
				case what == "gone" && err != nil && (ev.Kind == registry.Synced || ev.Kind == registry.Unregistered):
					return nil
				case what == "up" && err == nil:
					if e.out.machine() {
						return e.out.document(e.describe(rec, stateOK))
					}
					return nil
				}
			}
			if s := interrupted(cmd.Context()); s != nil {
				return s
			}
			state := map[string]string{"up": "there", "gone": "gone"}[what]
			return fail(classTimeout, "wait longer with --timeout 1m; toolbus ls shows what is there", "%q is not %s after %s", name, state, e.timeout)
		},
	}
	cmd.Flags().StringVar(&what, "for", "up", "`up` or gone")
	return cmd
}
