package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// The kinds of servers that the demo has.
const (
	kindTools     = "tools"
	kindResources = "resources"
	kindPrompts   = "prompts"
)

// demoServerConfig is what a server of the demo is told.
type demoServerConfig struct {
	Name, Kind, Scope string
	Server            string // the node that it connects to first
	Process           string // what it calls itself in records
}

// demoServerCommand is one MCP server, written in Go with the official SDK and hosted on the bus under a name.
func demoServerCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "demo-server",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var c demoServerConfig
			say, hear, err := asChild(e.stdin, e.stdout, &c)
			if err != nil {
				return usage("toolbus demo", "%s", err)
			}
			err = e.demoServer(cmd.Context(), c, say, hear)
			if err != nil && !errors.Is(err, registry.ErrNameTaken) {
				say(demoLine{Error: plain(err)})
			}
			return err
		},
	}
}

// demoServer connects, waits for the word, claims the name and serves until its stdin ends.
func (e *env) demoServer(ctx context.Context, c demoServerConfig, say func(demoLine), hear func() error) error {
	log := e.logger(true)
	conn, err := bus.Connect(ctx, c.Server, &bus.ConnectOptions{Role: "server", Name: c.Process, Logger: log}) // no variable or context of the user's counts here
	if err != nil {
		return err
	}
	defer conn.Close()
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), c.Scope, &kvstore.JetStreamOptions{Logger: log})
	if err != nil {
		return err
	}
	reg, err := registry.Open(ctx, store, &registry.Options{Scope: c.Scope, Node: c.Process, Peers: conn, Logger: log})
	if err != nil {
		return err
	}
	defer e.closeRegistry(ctx, reg)
	if err := reg.WaitSynced(ctx); err != nil {
		return err
	}
	say(demoLine{Connected: true})
	if err := hear(); err != nil {
		return err
	}
	began := time.Now()
	host, err := hostDemo(ctx, conn, reg, c.Kind, c.Name, log)
	took := time.Since(began)
	if taken, ok := errors.AsType[*registry.NameTakenError](err); ok {
		say(demoLine{Ready: true, Took: took, Taken: taken.Owner.Instance, Holder: taken.Owner.Holder()})
		return err
	}
	if err != nil {
		return err
	}
	say(demoLine{Ready: true, Took: took, Instance: host.instance, Token: host.token})
	<-ctx.Done()
	return interrupted(ctx)
}

// demoMCP makes the MCP server itself.
func demoMCP(kind, name string) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1.0.0"}, nil)
	switch kind {
	case kindTools:
		type numbers struct {
			A float64 `json:"a" jsonschema:"first number"`
			B float64 `json:"b" jsonschema:"second number"`
		}
		mcp.AddTool(s, &mcp.Tool{Name: "add", Description: "Add two numbers"},
			func(_ context.Context, _ *mcp.CallToolRequest, in numbers) (*mcp.CallToolResult, any, error) {
				return say(fmt.Sprint(in.A + in.B)), nil, nil
			})
		mcp.AddTool(s, &mcp.Tool{Name: "wait", Description: "Never answer by itself"},
			func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
				if token := req.Params.GetProgressToken(); token != nil { // so that the caller knows that it is waited for
					_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Message: "waiting"})
				}
				<-ctx.Done()
				return nil, nil, ctx.Err()
			})
		mcp.AddTool(s, &mcp.Tool{Name: "pid", Description: "Say which process this is"},
			func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				return say(fmt.Sprint(os.Getpid())), nil, nil
			})
	case kindResources:
		s.AddResource(&mcp.Resource{URI: "book://erlang", Name: "erlang", MIMEType: "text/plain"},
			func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
				return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: "text/plain", Text: "Let it crash."}}}, nil
			})
	case kindPrompts:
		s.AddPrompt(&mcp.Prompt{Name: "greet", Arguments: []*mcp.PromptArgument{{Name: "who", Required: true}}},
			func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				text := "Say hello to " + strings.TrimSpace(req.Params.Arguments["who"]) + "."
				return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}}, nil
			})
	}
	return s
}

func say(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// hosted is a server of this process on the bus.
type hosted struct {
	instance string
	token    uint64
}

// hostDemo puts an MCP server on the bus under a name. It lives as long as this process: nothing of the demo is closed in good order.
func hostDemo(ctx context.Context, conn *bus.Conn, reg *registry.Registry, kind, name string, log *slog.Logger) (*hosted, error) {
	host := servers.NewHost(conn, reg, &servers.HostOptions{Logger: log})
	serving, err := host.Serve(ctx, name, demoMCP(kind, name), &servers.ServeOptions{Kind: "go"})
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	rec := serving.Record()
	return &hosted{instance: rec.Instance, token: uint64(rec.Token)}, nil
}
