package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// listedTool is a tool in JSON.
type listedTool struct {
	header
	Server string `json:"server"`
	tool
}

func toolsCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "tools [NAME]",
		Short: "list the tools of a server, or of all",
		Long: "Tools asks a server, or every one in the group tools, what it can do. A server that does not answer is named on stderr, and fails nothing; the schemas of the\n" +
			"arguments are in -o json.",
		Example:           "toolbus tools\ntoolbus tools everything\ntoolbus tools everything -o json | jq '.items[].inputSchema'",
		Args:              rangeArgs(0, 1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return e.allTools(cmd.Context())
			}
			name, err := registry.ParseName(args[0])
			if err != nil {
				return err
			}
			return e.withServer(cmd.Context(), name, func(ctx context.Context, r *rpc) error { return e.listTools(ctx, r, name) })
		},
	}
}

// listTools prints what one server can do.
func (e *env) listTools(ctx context.Context, r *rpc, name string) error {
	all, err := r.tools(ctx)
	if err != nil {
		return err
	}
	out := listing{kind: "Tool", scope: e.scope, head: []string{"TOOL", "ARGUMENTS", "DESCRIPTION"}, empty: name + " has no tools"}
	for _, t := range all {
		out.rows = append(out.rows, []string{t.Name, t.InputSchema.usage(), firstLine(t.Description)})
		out.names = append(out.names, t.Name)
		out.items = append(out.items, listedTool{head("Tool"), name, t})
	}
	return e.out.list(out)
}

// serversAtOnce bounds how many are asked at the same time.
const serversAtOnce = 16

// allTools asks all servers that have tools.
func (e *env) allTools(parent context.Context) error {
	ctx, l, done, err := e.ask(parent)
	if err != nil {
		return err
	}
	defer done()
	snap, err := registry.Load(ctx, l.store)
	if err != nil {
		return err
	}
	var names []string
	for _, rec := range snap.List() {
		if slices.Contains(rec.Groups, "tools") {
			names = append(names, rec.Name)
		}
	}
	var (
		work   sync.WaitGroup
		slots  = make(chan struct{}, serversAtOnce)
		tools  = make([][]tool, len(names))
		failed = make([]error, len(names))
	)
	for i, name := range names {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r, err := e.dial(l, name)
			if err == nil {
				defer r.close()
				tools[i], err = r.tools(ctx)
			}
			failed[i] = err
		})
	}
	work.Wait()
	out := listing{kind: "Tool", scope: e.scope, at: uint64(snap.Revision()), head: []string{"SERVER", "TOOL", "ARGUMENTS", "DESCRIPTION"}, empty: "no server has tools"}
	for i, name := range names {
		if failed[i] != nil {
			e.note("! %s does not say: %s", name, plain(failed[i]))
		}
		for _, t := range tools[i] {
			out.rows = append(out.rows, []string{name, t.Name, t.InputSchema.usage(), firstLine(t.Description)})
			out.names = append(out.names, name+" "+t.Name)
			out.items = append(out.items, listedTool{head("Tool"), name, t})
		}
	}
	return e.out.list(out)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return shorten(line, 80)
}

// maxPages bounds how many pages of a list are asked for: a server whose cursors never end must not hold us.
const maxPages = 1000

// pages reads a list of the server to its end.
func pages[T any](ctx context.Context, r *rpc, method, member string) (all []T, err error) {
	cursor := ""
	for range maxPages {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		raw, err := r.call(ctx, method, params)
		if err != nil {
			return nil, err
		}
		var page map[string]json.RawMessage
		var some []T
		err = json.Unmarshal(raw, &page)
		if err == nil && page[member] != nil {
			err = json.Unmarshal(page[member], &some)
		}
		if err != nil {
			return nil, fail(classTool, "the answer is the server's own; its log may say more", "its list of %s is not understood: %s", member, err)
		}
		all = append(all, some...)
		cursor = ""
		_ = json.Unmarshal(page["nextCursor"], &cursor) // no text is no cursor
		if cursor == "" {
			break
		}
	}
	return all, nil
}
