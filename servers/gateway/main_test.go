//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/gateway"
)

func TestMain(m *testing.M) { bustest.Main(m, nil) }

const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

var versions = []string{modern, legacy}

// place is the bus of one test.
type place struct{ node *bus.Node }

func newPlace(t *testing.T) *place { return &place{bustest.Node(t, nil)} }

// process is a connection with a registry.
func (p *place) process(t *testing.T) (*bus.Conn, *registry.Registry) {
	t.Helper()
	ctx := bustest.Context(t)
	conn := bustest.Connect(t, p.node)
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.Open(ctx, store, &registry.Options{Peers: conn, Node: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close(context.Background()) })
	return conn, reg
}

// serve hosts a server.
func (p *place) serve(t *testing.T, name string, server *mcp.Server) *servers.Serving {
	t.Helper()
	conn, reg := p.process(t)
	h := servers.NewHost(conn, reg, nil)
	t.Cleanup(func() { h.Close() })
	s, err := h.Serve(bustest.Context(t), name, server, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// replica is a gateway behind an HTTP server.
type replica struct {
	*gateway.Gateway
	http    *httptest.Server
	out     atomic.Bool  // a balancer is to leave it out
	streams atomic.Int32 // streams of calls whose first event is on its way: the client can go on with them
}

// ServeHTTP counts the answers that become streams.
func (r *replica) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodPost {
		w = &counter{ResponseWriter: w, of: r}
	}
	r.Gateway.ServeHTTP(w, req)
}

type counter struct {
	http.ResponseWriter
	of             *replica
	wrote, counted bool
}

func (c *counter) Write(data []byte) (int, error) {
	c.wrote = true
	return c.ResponseWriter.Write(data)
}

func (c *counter) FlushError() error {
	err := http.NewResponseController(c.ResponseWriter).Flush()
	if err == nil && c.wrote && !c.counted && c.Header().Get("Content-Type") == "text/event-stream" {
		c.counted = true
		c.of.streams.Add(1)
	}
	return err
}

func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (p *place) gateway(t *testing.T, opts *gateway.Options) *replica {
	t.Helper()
	conn, reg := p.process(t)
	if err := reg.Refresh(bustest.Context(t)); err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(conn, reg, opts)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{Gateway: g}
	r.http = httptest.NewServer(r)
	t.Cleanup(r.close)
	return r
}

// close ends the replica, and every connection to it.
func (r *replica) close() {
	r.out.Store(true)
	r.http.CloseClientConnections()
	_ = r.Close()
	r.http.Close()
}

func (r *replica) url(name string) string { return r.http.URL + "/s/" + name + "/mcp" }

// connect opens a session with the URL of a server, in a protocol version.
func connect(t *testing.T, url, version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "v1"}, opts)
	session, err := c.Connect(bustest.Context(t), &mcp.StreamableClientTransport{Endpoint: url}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	if got := session.InitializeResult().ProtocolVersion; got != version {
		t.Fatalf("asked for %s, got %s", version, got)
	}
	return session
}

// call calls a tool and returns the text of its answer.
func call(t *testing.T, session *mcp.ClientSession, tool string, args any) string {
	t.Helper()
	r, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return r.Content[0].(*mcp.TextContent).Text
}

func say(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

// probe is a server with a tool for each thing that has to pass.
type probe struct {
	*mcp.Server
	hanging atomic.Int32  // calls of hang that are in it
	release chan struct{} // lets one call of hang answer
}

func newProbe() *probe {
	p := &probe{Server: mcp.NewServer(&mcp.Implementation{Name: "probe", Version: "v1"}, nil), release: make(chan struct{})}
	type none struct{}
	mcp.AddTool(p.Server, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		Text string `json:"text"`
	}) (*mcp.CallToolResult, any, error) {
		return say(in.Text), nil, nil
	})
	mcp.AddTool(p.Server, &mcp.Tool{Name: "large"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		Bytes int `json:"bytes"`
	}) (*mcp.CallToolResult, any, error) {
		return say(strings.Repeat("x", in.Bytes)), nil, nil
	})
	mcp.AddTool(p.Server, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{
			{Role: "user", Content: &mcp.TextContent{Text: "what is 6 times 7?"}}}})
		if err != nil {
			return nil, nil, err
		}
		return say("the model says " + r.Content.(*mcp.TextContent).Text), nil, nil
	})
	mcp.AddTool(p.Server, &mcp.Tool{Name: "choose"}, func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "which?"})
		if err != nil {
			return nil, nil, err
		}
		return say("the user says " + r.Action), nil, nil
	})
	mcp.AddTool(p.Server, &mcp.Tool{Name: "report"}, func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1)})
			if err != nil {
				return nil, nil, err
			}
		}
		return say("done"), nil, nil
	})
	mcp.AddTool(p.Server, &mcp.Tool{Name: "hang"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		p.hanging.Add(1)
		defer p.hanging.Add(-1)
		select {
		case <-p.release:
			return say("released"), nil, nil
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	})
	return p
}
