//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package aggregate_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/aggregate"
	"github.com/toolbus/toolbus/servers/wire"
)

func TestMain(m *testing.M) { bustest.Main(m, bustest.Children{"host": hostChild}) }

// process is a connection with a registry and a host, as one process of a scope has them.
type process struct {
	conn *bus.Conn
	reg  *registry.Registry
	host *servers.Host
}

func open(ctx context.Context, conn *bus.Conn) (process, error) {
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), "default", nil)
	if err != nil {
		return process{}, err
	}
	reg, err := registry.Open(ctx, store, &registry.Options{Peers: conn})
	if err != nil {
		return process{}, err
	}
	return process{conn, reg, servers.NewHost(conn, reg, nil)}, nil
}

func newProcess(t testing.TB, node *bus.Node) process {
	t.Helper()
	p, err := open(bustest.Context(t), bustest.Connect(t, node))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close() })
	return p
}

func (p process) close() {
	_ = p.host.Close()
	_ = p.reg.Close(context.Background())
}

// serve hosts a server until the test ends.
func (p process) serve(t testing.TB, name string, server *mcp.Server, groups ...string) *servers.Serving {
	t.Helper()
	s, err := p.host.Serve(bustest.Context(t), name, server, &servers.ServeOptions{Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hostChild is a process that serves a toolbox under a name until it is killed.
func hostChild(ctx context.Context, args []string, out io.Writer) error {
	conn, err := bus.Connect(ctx, args[0], nil)
	if err != nil {
		return err
	}
	p, err := open(ctx, conn)
	if err != nil {
		return err
	}
	if _, err := p.host.Serve(ctx, args[1], toolbox(args[1], nil), nil); err != nil {
		return err
	}
	fmt.Fprintln(out, "serving")
	<-ctx.Done()
	return nil
}

// aggregated is an endpoint that is hosted on the bus as the server "all".
func aggregated(t testing.TB, p process, opts *aggregate.Options) *aggregate.Endpoint {
	t.Helper()
	caller, err := wire.NewCaller(p.conn, servers.CallerOptions(p.reg))
	if err != nil {
		t.Fatal(err)
	}
	e := aggregate.New(caller, p.reg, opts)
	s, err := p.host.ServeBackend(bustest.Context(t), "all", e, &servers.ServeOptions{Kind: aggregate.Kind, Groups: []string{"tools"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		e.Close()
		caller.Close()
	})
	return e
}

type addArgs struct {
	A int `json:"a"`
	B int `json:"b"`
}

func result(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// toolbox is a server with all that a server can have.
func toolbox(who string, opts *mcp.ServerOptions) *mcp.Server {
	if opts == nil {
		opts = &mcp.ServerOptions{}
	}
	opts.Instructions = "I am " + who
	opts.CompletionHandler = func(_ context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
		ref := req.Params.Ref.Name + req.Params.Ref.URI
		return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{who + " completes " + ref}}}, nil
	}
	opts.SubscribeHandler = func(context.Context, *mcp.SubscribeRequest) error { return nil }
	opts.UnsubscribeHandler = func(context.Context, *mcp.UnsubscribeRequest) error { return nil }
	server := mcp.NewServer(&mcp.Implementation{Name: "toolbox", Version: "v1"}, opts)
	mcp.AddTool(server, &mcp.Tool{Name: "who"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return result(who), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "math.add"}, func(_ context.Context, _ *mcp.CallToolRequest, in addArgs) (*mcp.CallToolResult, any, error) {
		return result(fmt.Sprint(in.A + in.B)), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "report"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i), Message: who}); err != nil {
				return nil, nil, err
			}
		}
		return result("done"), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "name"}, func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		if r, ok := req.Params.InputResponses["name"].(*mcp.ElicitResult); ok {
			return result(fmt.Sprintf("%s asked %v", who, r.Content["name"])), nil, nil
		}
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"name": &mcp.ElicitParams{Message: who}}}, nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "sample"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		roots, err := req.Session.ListRoots(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		r, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: who}}}})
		if err != nil {
			return nil, nil, err
		}
		return result(r.Content.(*mcp.TextContent).Text + " at " + roots.Roots[0].URI), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "log"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "debug", Data: who})
		return result("logged"), nil, err
	})
	mcp.AddTool(server, &mcp.Tool{Name: "hang"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Message: "hangs"}); err != nil {
			return nil, nil, err
		}
		<-ctx.Done()
		ended.add(who)
		return nil, nil, ctx.Err()
	})
	server.AddPrompt(&mcp.Prompt{Name: "greet"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Description: who + " greets"}, nil
	})
	read := func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: who + " has " + req.Params.URI}}}, nil
	}
	server.AddResource(&mcp.Resource{Name: "readme", URI: "file:///readme"}, read) // all have this one
	server.AddResource(&mcp.Resource{Name: "own", URI: "own://" + who}, read)
	server.AddResourceTemplate(&mcp.ResourceTemplate{Name: "row", URITemplate: "db-" + who + "://{id}"}, read)
	return server
}

// words is a list to which others add while it is read.
type words struct {
	mu  sync.Mutex
	all []string
}

func (w *words) add(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, s)
}

func (w *words) has(s string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.all, s)
}

func (w *words) count(s string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.all {
		if x == s {
			n++
		}
	}
	return n
}

// ended are the servers whose tool hang was cancelled.
var ended words

// eras are the protocol versions that a client of each era connects with.
var eras = map[string]string{"modern": servers.ModernVersion, "legacy": servers.LegacyVersion}

// client connects an SDK client to the endpoint. What it is told stands in heard.
func client(t testing.TB, p process, version string, heard *words) *mcp.ClientSession {
	t.Helper()
	if heard == nil {
		heard = &words{}
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "v1"}, &mcp.ClientOptions{
		CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "sampled for " + req.Params.Messages[0].Content.(*mcp.TextContent).Text}}, nil
		},
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "for " + req.Params.Message}}, nil
		},
		ToolListChangedHandler:     func(context.Context, *mcp.ToolListChangedRequest) { heard.add("tools") },
		PromptListChangedHandler:   func(context.Context, *mcp.PromptListChangedRequest) { heard.add("prompts") },
		ResourceListChangedHandler: func(context.Context, *mcp.ResourceListChangedRequest) { heard.add("resources") },
		ResourceUpdatedHandler: func(_ context.Context, req *mcp.ResourceUpdatedNotificationRequest) {
			heard.add("updated " + req.Params.URI)
		},
		LoggingMessageHandler: func(_ context.Context, req *mcp.LoggingMessageRequest) {
			heard.add(fmt.Sprint("log ", req.Params.Data))
		},
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			heard.add("progress " + req.Params.Message)
		},
	})
	c.AddRoots(&mcp.Root{URI: "file:///root"})
	session, err := c.Connect(bustest.Context(t), &servers.Transport{Conn: p.conn, Registry: p.reg, Name: "all"}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

func call(t testing.TB, session *mcp.ClientSession, tool string, args any) string {
	t.Helper()
	r, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return r.Content[0].(*mcp.TextContent).Text
}

func toolNames(t testing.TB, session *mcp.ClientSession) (names []string) {
	t.Helper()
	for tool, err := range session.Tools(bustest.Context(t), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	return names
}

// with are the names that begin with a server's.
func with(names []string, server string) (own []string) {
	for _, n := range names {
		if strings.HasPrefix(n, server+"__") {
			own = append(own, n)
		}
	}
	return own
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	bustest.Eventually(t, what, ok)
}

// within fails where something takes far too long.
func within(t testing.TB, limit time.Duration, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %v", what, took)
	}
}
