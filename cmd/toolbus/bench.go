package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/bench"
)

// benchCommand measures on this machine, with processes of its own.
func benchCommand(e *env) *cobra.Command {
	var opts bench.Options
	var curves bool
	var pictures, from string
	var names []string
	for _, q := range bench.Questions() {
		names = append(names, fmt.Sprintf("  %-9s %s", q.Name, q.Text))
	}
	cmd := &cobra.Command{
		Use:   "bench [QUESTION...]",
		Short: "measure on this machine: registration, look-up, death, calls, each beside its floor",
		Long: "Starts nodes and clients on this machine, each a process of its own, and measures. All figures are of this machine in this state: run it while nothing else runs.\n\n" +
			"Questions:\n" + strings.Join(names, "\n") + "\n\nCurves (--curves): " + strings.Join(bench.CurveNames(), ", "),
		Example: "  toolbus bench register call\n  toolbus bench --rounds 9 -o json > results.json\n  toolbus bench --curves --pictures docs lookup-by-names",
		RunE: func(cmd *cobra.Command, args []string) error {
			var report *bench.Report
			var err error
			if opts.Toolbus, err = os.Executable(); err != nil {
				return err
			}
			progress := e.statusLine()
			opts.Progress = func(question, system string, round, rounds int) {
				progress("%s: %s, %d of %d", question, system, round, rounds)
			}
			switch {
			case from != "":
				if report, err = readReport(from); err != nil {
					return usage("give a file that `toolbus bench -o json` wrote", "%s", err)
				}
			case curves:
				report = &bench.Report{Machine: bench.ThisMachine()}
				report.Curves, err = bench.Curves(cmd.Context(), args, &opts)
			default:
				opts.Only = args
				report, err = bench.Run(cmd.Context(), &opts)
			}
			progress("")
			if err != nil {
				if report == nil {
					return usage("see `toolbus bench --help`", "%s", strings.TrimPrefix(err.Error(), "bench: "))
				}
				return err
			}
			if pictures != "" {
				if err := drawCurves(pictures, report); err != nil {
					return err
				}
			}
			if e.out.format == formatJSON {
				return report.WriteJSON(e.stdout)
			}
			return report.WriteText(e.stdout)
		},
	}
	f := cmd.Flags()
	f.IntVar(&opts.Rounds, "rounds", 5, "how often each system is measured, taking turns")
	f.StringSliceVar(&opts.Systems, "system", nil, "only systems whose name contains this, beside the floors")
	f.BoolVar(&curves, "curves", false, "measure how costs grow; arguments are names of curves then")
	f.StringVar(&pictures, "pictures", "", "draw the curves into `DIR`, one SVG each")
	f.StringVar(&from, "from", "", "measure nothing: show the report in `FILE`")
	return cmd
}

func readReport(file string) (*bench.Report, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bench.ReadReport(f)
}

func drawCurves(dir string, r *bench.Report) error {
	for _, c := range r.Curves {
		f, err := os.Create(filepath.Join(dir, c.Name+".svg"))
		if err != nil {
			return err
		}
		err = c.WriteSVG(f, r.Machine)
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// benchChildCommand is one process of bench, told by it and ended with it.
func benchChildCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: bench.ChildWord, Run: func(*cobra.Command, []string) { os.Exit(bench.ChildMain(e.stdin, e.stdout)) }}
}

// benchEchoCommand is the MCP server on stdio that bench calls.
func benchEchoCommand(*env) *cobra.Command {
	return &cobra.Command{Use: bench.EchoWord, Run: func(cmd *cobra.Command, _ []string) { os.Exit(bench.EchoMain(cmd.Context())) }}
}

// statusLine shows what a long command does now, on one line of stderr that is written over, and only on a terminal. An empty one clears it.
func (e *env) statusLine() func(format string, args ...any) {
	if e.quiet || !isTerminal(e.stderr) {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintf(e.stderr, "\r\x1b[K"+format, args...) }
}
