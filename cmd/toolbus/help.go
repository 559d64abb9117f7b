package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// help prints what a command is for: examples first, as people read those. The root's is a dozen lines.
func (e *env) help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	if !cmd.HasParent() {
		rootHelp(w, cmd)
		return
	}
	if cmd.Long != "" {
		fmt.Fprintln(w, cmd.Long)
	} else {
		fmt.Fprintf(w, "%s: %s\n", cmd.CommandPath(), cmd.Short)
	}
	if !cmd.Runnable() {
		return
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", indent(cmd.Example))
	}
	fmt.Fprintf(w, "\nUsage:\n  %s\n", cmd.UseLine())
	if own := cmd.LocalNonPersistentFlags(); own.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", flagUsages(own))
	}
	if all := cmd.InheritedFlags(); all.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags of every command:\n%s", flagUsages(all))
	}
}

func flagUsages(fs *pflag.FlagSet) string { return fs.FlagUsagesWrapped(0) }

func rootHelp(w io.Writer, root *cobra.Command) {
	fmt.Fprintf(w, "%s\n\n", root.Short)
	fmt.Fprintln(w, "  toolbus demo                                     see it work: three nodes, three servers, a crash")
	fmt.Fprintln(w, "  toolbus up                                       a node here, on nats://127.0.0.1:4222")
	fmt.Fprintln(w, "  toolbus run files -- npx -y SERVER               an MCP server, as \"files\" on the bus")
	fmt.Fprintln(w, "  toolbus call files read_file path=/etc/hostname  call it, from anywhere")
	fmt.Fprintln(w)
	for _, g := range root.Groups() {
		var names []string
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && !c.Hidden {
				names = append(names, c.Name())
			}
		}
		fmt.Fprintf(w, "%-6s %s\n", g.Title, strings.Join(names, "  "))
	}
	fmt.Fprintln(w, "\n`toolbus COMMAND --help` has examples and flags.")
}

func indent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = "  " + strings.TrimSpace(l)
	}
	return strings.Join(lines, "\n")
}
