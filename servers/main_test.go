//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package servers_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

func TestMain(m *testing.M) { bustest.Main(m, bustest.Children{"host": hostChild}) }

// process is a connection with a registry, as one process of a scope has them.
type process struct {
	conn *bus.Conn
	reg  *registry.Registry
}

func newProcess(t testing.TB, node *bus.Node) process {
	t.Helper()
	ctx := bustest.Context(t)
	p := process{conn: bustest.Connect(t, node)}
	store, err := kvstore.OpenJetStream(ctx, p.conn.NATS(), "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	p.reg, err = registry.Open(ctx, store, &registry.Options{Peers: p.conn, Node: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.reg.Close(context.Background()) })
	return p
}

func (p process) host(t testing.TB) *servers.Host {
	h := servers.NewHost(p.conn, p.reg, nil)
	t.Cleanup(func() { h.Close() })
	return h
}

// hanging counts the calls of the tool hang that are in a server of this process.
var hanging atomic.Int32

type addArgs struct {
	A int `json:"a"`
	B int `json:"b"`
}

// calculator is a server with the tools add, who (which instance answers), ask (samples) and choose (elicits).
func calculator(who string) *mcp.Server { return calculatorWith(who, nil) }

func calculatorWith(who string, opts *mcp.ServerOptions) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "calculator", Version: "v1"}, opts)
	mcp.AddTool(server, &mcp.Tool{Name: "add", Description: "adds"},
		func(_ context.Context, _ *mcp.CallToolRequest, in addArgs) (*mcp.CallToolResult, map[string]int, error) {
			return nil, map[string]int{"sum": in.A + in.B}, nil
		})
	text := func(s string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
	}
	mcp.AddTool(server, &mcp.Tool{Name: "who"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return text(who), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{
			{Role: "user", Content: &mcp.TextContent{Text: "what is 6 times 7?"}}}})
		if err != nil {
			return nil, nil, err
		}
		return text("the model says " + r.Content.(*mcp.TextContent).Text), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "choose"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "which?"})
		if err != nil {
			return nil, nil, err
		}
		return text("the user says " + r.Action), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "report"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1)})
			if err != nil {
				return nil, nil, err
			}
		}
		return text("done"), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "hang"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		hanging.Add(1)
		defer hanging.Add(-1)
		if err := hangs(ctx, req); err != nil {
			return nil, nil, err
		}
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	return server
}

// hangs tells the caller that his call hangs, if he wants to know.
func hangs(ctx context.Context, req *mcp.CallToolRequest) error {
	token := req.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	return req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token})
}

func client(opts *mcp.ClientOptions) *mcp.Client {
	return mcp.NewClient(&mcp.Implementation{Name: "test", Version: "v1"}, opts)
}

// connect opens a session in the protocol version, "" for the client's own choice.
func connect(t testing.TB, c *mcp.Client, transport mcp.Transport, version string) *mcp.ClientSession {
	t.Helper()
	session, err := c.Connect(bustest.Context(t), transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// call calls a tool and returns the text of its answer.
func call(t testing.TB, session *mcp.ClientSession, tool string, args any) string {
	t.Helper()
	r, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if len(r.Content) == 0 {
		t.Fatalf("%s: no content", tool)
	}
	return r.Content[0].(*mcp.TextContent).Text
}

func containsAll(s string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}
