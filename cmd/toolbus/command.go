package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of `toolbus help`.
const (
	groupStart = "Start"
	groupUse   = "Use"
	groupServe = "Serve"
	groupMore  = "More"
)

// commands is the table: a command is one file and one row. A row without a group is not shown.
var commands = []struct {
	group string
	make  func(*env) *cobra.Command
}{
	{groupStart, demoCommand},
	{groupStart, upCommand},
	{groupServe, runCommand},
	{groupServe, attachCommand},
	{groupServe, lockCommand},
	{groupServe, gatewayCommand},
	{groupServe, logsCommand},
	{groupUse, lsCommand},
	{groupUse, getCommand},
	{groupUse, whereisCommand},
	{groupUse, callCommand},
	{groupUse, tapCommand},
	{groupUse, toolsCommand},
	{groupUse, readCommand},
	{groupUse, promptCommand},
	{groupUse, shimCommand},
	{groupUse, groupsCommand},
	{groupUse, watchCommand},
	{groupUse, waitCommand},
	{groupUse, joinCommand},
	{groupUse, leaveCommand},
	{groupUse, historyCommand},
	{groupMore, doctorCommand},
	{groupMore, benchCommand},
	{groupMore, versionCommand},
	{groupMore, exitCodesTopic},
	{"", demoNodeCommand},
	{"", demoServerCommand},
	{"", guardCommand},
	{"", benchChildCommand},
	{"", benchEchoCommand},
}

// root makes the program's command tree.
func (e *env) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "toolbus",
		Short:         "Every MCP server on one bus, under one name",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return e.resolve(cmd.Flags()) },
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	e.globalFlags(root.PersistentFlags())
	root.SetHelpFunc(e.help)
	root.SetUsageFunc(func(cmd *cobra.Command) error { e.help(cmd, nil); return nil })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("see `"+cmd.CommandPath()+" --help`", "%s", err)
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, g := range []string{groupStart, groupServe, groupUse, groupMore} {
		root.AddGroup(&cobra.Group{ID: g, Title: g})
	}
	for _, row := range commands {
		cmd := row.make(e)
		cmd.GroupID, cmd.Hidden = row.group, row.group == ""
		root.AddCommand(cmd)
	}
	return root
}

// execute runs one command line.
func (e *env) execute(ctx context.Context, args []string) error {
	if wantsJSON(args, e.getenv("TOOLBUS_OUTPUT")) { // an error in the flags themselves is told in the form that was asked for
		e.out.format = formatJSON
	}
	root := e.root()
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// finish tells the error and returns the exit code.
func (e *env) finish(ctx context.Context, err error) int {
	if p, ok := errors.AsType[*passedStatus](err); ok {
		return p.code
	}
	if s := interrupted(ctx); s != nil && err != nil {
		err = s // whatever it broke on the way
	}
	if err == nil {
		return classOK.exit
	}
	e.tell(err)
	return classify(err).exit
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	hint := "`toolbus help` lists the commands"
	if near := nearest(name, names); near != "" {
		hint = "did you mean `toolbus " + near + "`?  All of them: toolbus help"
	}
	return usage(hint, "no such command: %s", quote(name))
}

// exactArgs is cobra.ExactArgs with a message for people.
func exactArgs(n int, what string) cobra.PositionalArgs { return rangeArgs(n, n, what) }

func rangeArgs(low, high int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usage("usage: "+cmd.UseLine(), "%s is missing", what)
		case high >= 0 && len(args) > high:
			return usage("usage: "+cmd.UseLine(), "too many arguments: %s", strings.Join(args[high:], " "))
		}
		return nil
	}
}

func exitCodesTopic(*env) *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes, and the word that stands for each in the JSON error line (-o json, on stderr):\n\n")
	for _, c := range classes {
		fmt.Fprintf(&b, "  %3d  %-12s %s\n", c.exit, c.word, c.when)
	}
	return &cobra.Command{Use: "exit-codes", Short: "what the exit codes mean", Long: strings.TrimRight(b.String(), "\n")}
}
