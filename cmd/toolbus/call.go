package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

func callCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "call NAME [TOOL [KEY=VALUE | KEY:=JSON | JSON | -]...]",
		Short: "call a tool of a server",
		Long: "Call calls a tool by the server's name. KEY=VALUE is converted as the tool's schema says; KEY:=JSON, a JSON object, and - (one on\n" +
			"stdin) are taken as they are. Without a tool it lists those that the server has.",
		Example: "toolbus call everything echo message=hi\n" +
			"toolbus call everything get-sum a=5 b=3\n" +
			"toolbus call files search '{\"path\":\"/tmp\",\"pattern\":\"*.go\"}'\n" +
			"toolbus call everything",
		Args:              rangeArgs(1, -1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := registry.ParseName(args[0])
			if err != nil {
				return err
			}
			ctx, l, done, err := e.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			r, err := e.dial(l, name)
			if err != nil {
				return err
			}
			defer r.close()
			if len(args) == 1 {
				err = e.listTools(ctx, r, name)
			} else {
				err = e.callTool(ctx, r, name, args[1], args[2:])
			}
			if err != nil && cmd.Context().Err() == nil {
				ask, cancel := context.WithTimeout(cmd.Context(), e.timeout) // the call may have used up its own time
				defer cancel()
				return e.rpcError(ask, l, name, err)
			}
			return err
		},
	}
}

// callTool makes the call: the tool's schema is asked for only where an argument has to be converted by it.
func (e *env) callTool(ctx context.Context, r *rpc, name, tool string, args []string) error {
	given, err := e.parseArguments(args)
	if err != nil {
		return err
	}
	arguments := given.raw
	if arguments == nil {
		var schema *schema
		if given.untyped() {
			found, all, err := r.tool(ctx, tool)
			if err != nil {
				return err
			}
			if found == nil {
				return noSuchTool(name, tool, all)
			}
			schema = &found.InputSchema
		}
		if arguments, err = given.convert(schema, "toolbus call "+name+" "+tool); err != nil {
			return err
		}
	}
	raw, err := r.call(ctx, "tools/call", map[string]any{"name": tool, "arguments": arguments})
	if err != nil {
		return err
	}
	return e.printResult(name, tool, raw)
}

// tool is what tools/list says of one.
type tool struct {
	Name        string `json:"name"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	InputSchema schema `json:"inputSchema"`
}

// maxPages bounds how many pages of tools are asked for: a server whose cursors never end must not hold us.
const maxPages = 1000

// tools lists all tools of the server.
func (r *rpc) tools(ctx context.Context) ([]tool, error) {
	var all []tool
	cursor := ""
	for range maxPages {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		raw, err := r.call(ctx, "tools/list", params)
		if err != nil {
			return nil, err
		}
		var page struct {
			Tools      []tool `json:"tools"`
			NextCursor string `json:"nextCursor"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fail(classTool, "the answer is the server's own; its log may say more", "its list of tools is not understood: %s", err)
		}
		all = append(all, page.Tools...)
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	return all, nil
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

// listTools prints what a server can do.
func (e *env) listTools(ctx context.Context, r *rpc, name string) error {
	all, err := r.tools(ctx)
	if err != nil {
		return err
	}
	out := listing{kind: "Tool", scope: e.scope, head: []string{"TOOL", "ARGUMENTS", "DESCRIPTION"}, empty: name + " has no tools"}
	for _, t := range all {
		what, _, _ := strings.Cut(strings.TrimSpace(t.Description), "\n")
		out.rows = append(out.rows, []string{t.Name, t.InputSchema.usage(), shorten(what, 80)})
		out.names = append(out.names, t.Name)
		out.items = append(out.items, struct {
			header
			Server string `json:"server"`
			tool
		}{head("Tool"), name, t})
	}
	return e.out.list(out)
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
