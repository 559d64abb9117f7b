package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

func callCommand(e *env) *cobra.Command {
	var words callWords
	cmd := &cobra.Command{
		Use:   "call NAME [TOOL [--KEY VALUE | KEY=VALUE | KEY:=JSON | JSON | -]...]",
		Short: "call a tool of a server",
		Long: "Call calls a tool by the server's name. --KEY VALUE and KEY=VALUE are converted and checked as the tool's schema says, before anything is sent; KEY:=JSON, a\n" +
			"JSON object, and - (one on stdin) are taken as they are. Without a tool it lists those that the server has; with one, --help shows its arguments. Where\n" +
			"an argument has the name of a flag of every command, write KEY=VALUE.",
		Example: "toolbus call everything echo message=hi\n" +
			"toolbus call everything get-sum --a 5 --b 3\n" +
			"toolbus call everything get-sum --help\n" +
			"toolbus call files search '{\"path\":\"/tmp\",\"pattern\":\"*.go\"}'\n" +
			"toolbus call everything",
		DisableFlagParsing: true, // the tool's are among them
		Args: func(cmd *cobra.Command, args []string) (err error) {
			words, err = splitCall(cmd, args)
			return err
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
			words, err := splitCall(cmd, args)
			if err != nil && len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return e.completeNames(cmd, words.before, to)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if words.help && len(words.before) < 2 {
				return cmd.Help()
			}
			name, err := registry.ParseName(words.before[0])
			if err != nil {
				return err
			}
			return e.withServer(cmd.Context(), name, func(ctx context.Context, r *rpc) error {
				switch {
				case len(words.before) == 1:
					return e.listTools(ctx, r, name)
				case words.help:
					return e.toolHelp(ctx, r, name, words.before[1])
				}
				return e.callTool(ctx, r, name, words.before[1], words.after)
			})
		},
	}
	return cmd
}

// withServer makes requests of one server, and explains what goes wrong.
func (e *env) withServer(parent context.Context, name string, do func(context.Context, *rpc) error) error {
	ctx, l, done, err := e.ask(parent)
	if err != nil {
		return err
	}
	defer done()
	r, err := e.dial(l, name)
	if err != nil {
		return err
	}
	defer r.close()
	if err = do(ctx, r); err != nil && parent.Err() == nil {
		ask, cancel := context.WithTimeout(parent, e.timeout) // the call may have used up its own time
		defer cancel()
		return e.rpcError(ask, l, name, err)
	}
	return err
}

// callTool makes the call: the tool's schema is asked for wherever it can say something about the arguments.
func (e *env) callTool(ctx context.Context, r *rpc, name, tool string, words []string) error {
	var schema *schema
	if needsSchema(words) {
		found, all, err := r.tool(ctx, tool)
		if err != nil {
			return err
		}
		if found == nil {
			return noSuchTool(name, tool, all)
		}
		schema = &found.InputSchema
	}
	command := "toolbus call " + name + " " + tool
	args, err := schema.resolve(words, command)
	if err != nil {
		return err
	}
	given, err := e.parseArguments(args)
	if err != nil {
		return err
	}
	arguments := given.raw
	if arguments == nil {
		if arguments, err = given.convert(schema, command); err != nil {
			return err
		}
	}
	show := e.statusLine()
	r.progress = func(params json.RawMessage) { show("%s", progressText(params)) }
	raw, err := r.call(ctx, "tools/call", map[string]any{"name": tool, "arguments": arguments})
	show("")
	if err != nil {
		return err
	}
	return e.printResult(name, tool, raw)
}

// progressText is one line of what a notification of progress says.
func progressText(params json.RawMessage) string {
	var p struct {
		Progress json.Number  `json:"progress"`
		Total    *json.Number `json:"total"`
		Message  string       `json:"message"`
	}
	_ = json.Unmarshal(params, &p) // what is not understood is not shown
	text := p.Progress.String()
	if p.Total != nil {
		text += " of " + p.Total.String()
	}
	if p.Message != "" {
		text += ": " + p.Message
	}
	return shorten(clean(text), 100)
}

// tool is what tools/list says of one.
type tool struct {
	Name        string `json:"name"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	InputSchema schema `json:"inputSchema"`
}

// tools lists all tools of the server.
func (r *rpc) tools(ctx context.Context) ([]tool, error) {
	return pages[tool](ctx, r, "tools/list", "tools")
}

// tool finds one tool; all are returned with it, for "did you mean".
func (r *rpc) tool(ctx context.Context, name string) (*tool, []tool, error) {
	all, err := r.tools(ctx)
	for i := range all {
		if all[i].Name == name {
			return &all[i], all, err
		}
	}
	return nil, all, err
}

func noSuchTool(server, name string, all []tool) error {
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	f := fail(classTool, "toolbus call "+server+" lists its tools", "%s has no tool named %q (%s)", server, name, count(len(all), "tool"))
	if near := nearest(name, names); near != "" {
		f.hint = fmt.Sprintf("did you mean %q?  All of them: toolbus call %s", near, server)
		f.with("suggestion", near)
	}
	return f.with("name", server).with("tool", name)
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
