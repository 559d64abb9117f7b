//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package shim_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/shim"
	"github.com/toolbus/toolbus/servers/wire"
)

// largeText is more than one frame holds.
const largeText = 2 << 20

// process is a connection with a view of the test's scope.
type process struct {
	conn *bus.Conn
	reg  *registry.Registry
}

func join(t *testing.T, node *bus.Node) process {
	t.Helper()
	ctx := bustest.Context(t)
	p := process{conn: bustest.Connect(t, node)}
	store, err := kvstore.OpenJetStream(ctx, p.conn.NATS(), "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.reg, err = registry.Open(ctx, store, &registry.Options{Peers: p.conn}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.reg.Close(context.Background()) })
	return p
}

// bus is the shim's side of a process.
func (p process) bus(t *testing.T, to wire.Target) shim.Bus {
	t.Helper()
	caller, err := wire.NewCaller(p.conn, servers.CallerOptions(p.reg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	return shim.OnBus(caller, p.reg, to, nil)
}

// talker is a server that asks back, tells of progress, and has tools that wait.
func talker(who string, entered chan<- string) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: who, Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	text := func(s string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
	}
	add := func(tool *mcp.Tool, f func(context.Context, *mcp.CallToolRequest) (string, error)) {
		mcp.AddTool(s, tool, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			out, err := f(ctx, req)
			return text(out), nil, err
		})
	}
	add(&mcp.Tool{Name: "who"}, func(context.Context, *mcp.CallToolRequest) (string, error) { return who, nil })
	add(&mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest) (string, error) {
		r, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 1, Messages: []*mcp.SamplingMessage{
			{Role: "user", Content: &mcp.TextContent{Text: "?"}}}})
		if err != nil {
			return "", err
		}
		roots, err := req.Session.ListRoots(ctx, nil)
		if err != nil {
			return "", err
		}
		return fmt.Sprint(r.Content.(*mcp.TextContent).Text, " ", len(roots.Roots), " root"), nil
	})
	hang := func(ctx context.Context, req *mcp.CallToolRequest) (string, error) {
		entered <- who
		if who == "second" {
			return who, nil
		}
		<-ctx.Done()
		return "", ctx.Err()
	}
	add(&mcp.Tool{Name: "look", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, hang)
	add(&mcp.Tool{Name: "change"}, hang)
	add(&mcp.Tool{Name: "large"}, func(context.Context, *mcp.CallToolRequest) (string, error) {
		return strings.Repeat("x", largeText), nil
	})
	s.AddResource(&mcp.Resource{URI: "fake://one", Name: "one"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{}, nil
	})
	return s
}

// stdio runs a shim and returns the client's ends, as the SDK wants them.
func stdio(t *testing.T, b shim.Bus, opts *shim.Options) *mcp.IOTransport {
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- shim.Run(context.WithoutCancel(t.Context()), inRead, outWrite, b, opts)
		outWrite.Close()
	}()
	t.Cleanup(func() {
		inWrite.Close()
		if err := <-ended; err != nil {
			t.Errorf("the shim ended with %v", err)
		}
	})
	return &mcp.IOTransport{Reader: outRead, Writer: inWrite, MaxLineLength: 64 << 20}
}

func text(t *testing.T, s *mcp.ClientSession, tool string) string {
	t.Helper()
	r, err := s.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: tool})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return r.Content[0].(*mcp.TextContent).Text
}

// An SDK client in a legacy session, whose server dies and is followed by another.
func TestClientOutlivesItsServer(t *testing.T) {
	node := bustest.Node(t, nil)
	a, b, here := join(t, node), join(t, node), join(t, node)
	entered := make(chan string, 8)
	host := servers.NewHost(a.conn, a.reg, nil)
	defer host.Close()
	serving, err := host.Serve(bustest.Context(t), "talker", talker("first", entered), nil)
	if err != nil {
		t.Fatal(err)
	}
	var lists, updates atomic.Int32
	client := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: "sampled"}, Model: "m", Role: "assistant"}, nil
		},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { lists.Add(1) },
		ResourceUpdatedHandler: func(context.Context, *mcp.ResourceUpdatedNotificationRequest) { updates.Add(1) },
	})
	client.AddRoots(&mcp.Root{URI: "file:///r"})
	session, err := client.Connect(bustest.Context(t), stdio(t, here.bus(t, wire.Target{Name: "talker"}), nil), &mcp.ClientSessionOptions{ProtocolVersion: servers.LegacyVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if got := text(t, session, "who") + " " + text(t, session, "ask"); got != "first sampled 1 root" {
		t.Errorf("got %q", got)
	}
	if got := text(t, session, "large"); len(got) != largeText {
		t.Errorf("a result of %d bytes", len(got))
	}
	if _, err := session.ListTools(bustest.Context(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := session.Subscribe(bustest.Context(t), &mcp.SubscribeParams{URI: "fake://one"}); err != nil {
		t.Fatal(err)
	}
	before := lists.Load()

	results := make(chan string, 2)
	for _, tool := range []string{"look", "change"} {
		go func() {
			r, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: tool})
			if err != nil {
				results <- tool + " failed"
				return
			}
			results <- tool + " " + r.Content[0].(*mcp.TextContent).Text
		}()
	}
	<-entered
	<-entered
	next := servers.NewHost(b.conn, b.reg, nil)
	defer next.Close()
	serving.Close()
	second := talker("second", entered)
	if _, err := next.Serve(bustest.Context(t), "talker", second, nil); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{<-results: true, <-results: true}
	if !got["look second"] || !got["change failed"] {
		t.Errorf("the calls under way: %v", got)
	}
	if got := text(t, session, "who") + " " + text(t, session, "ask"); got != "second sampled 1 root" {
		t.Errorf("got %q", got)
	}
	bustest.Eventually(t, "the client hears that lists may differ", func() bool { return lists.Load() > before && updates.Load() > 0 })
	heard := updates.Load()
	if err := second.ResourceUpdated(bustest.Context(t), &mcp.ResourceUpdatedNotificationParams{URI: "fake://one"}); err != nil {
		t.Fatal(err)
	}
	bustest.Eventually(t, "the subscription was made again", func() bool { return updates.Load() > heard })
}

// A modern client goes to whoever is in the group, and waits where nobody is.
func TestModernClientOfAGroup(t *testing.T) {
	node := bustest.Node(t, nil)
	a, here := join(t, node), join(t, node)
	client := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil)
	transport := stdio(t, here.bus(t, wire.Target{Group: "talkers"}), nil)
	connected := make(chan *mcp.ClientSession, 1)
	go func() {
		session, err := client.Connect(bustest.Context(t), transport, nil)
		if err != nil {
			t.Error(err)
		}
		connected <- session
	}()
	host := servers.NewHost(a.conn, a.reg, nil)
	defer host.Close()
	if _, err := host.Serve(bustest.Context(t), "one", talker("one", nil), &servers.ServeOptions{Groups: []string{"talkers"}}); err != nil {
		t.Fatal(err)
	}
	session := <-connected
	if session == nil {
		return
	}
	defer session.Close()
	if got := text(t, session, "who"); got != "one" {
		t.Errorf("got %q", got)
	}
}

// A client that does not read blocks nobody else.
func TestSlowClientOnTheBus(t *testing.T) {
	node := bustest.Node(t, nil)
	a, here := join(t, node), join(t, node)
	host := servers.NewHost(a.conn, a.reg, nil)
	defer host.Close()
	if _, err := host.Serve(bustest.Context(t), "talker", talker("one", nil), nil); err != nil {
		t.Fatal(err)
	}
	b := here.bus(t, wire.Target{Name: "talker"})
	slow, out := startUnread(t, b, nil)
	large := func(id int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"large","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, id)
	}
	slow.say(large(1), large(2))
	client := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil)
	session, err := client.Connect(bustest.Context(t), stdio(t, b, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if got := text(t, session, "large"); len(got) != largeText {
		t.Errorf("a result of %d bytes", len(got))
	}
	r := bufio.NewReaderSize(out, 1<<20)
	for range 2 {
		line, err := r.ReadBytes('\n')
		if err != nil || len(line) < largeText || !json.Valid(line) {
			t.Errorf("%d bytes, %v", len(line), err)
		}
	}
}

// modernOnly is an SDK server that does not know initialize, as a program of another make may be.
type modernOnly struct{ server *mcp.Server }

func (b modernOnly) Shared() wire.Pipe { return nil }

func (b modernOnly) Open(context.Context) (wire.Pipe, error) {
	ours, theirs := wire.Pair()
	go func() { // ends with the conversation
		for {
			raw, err := theirs.Read(context.Background())
			if err != nil {
				return
			}
			if m, err := wire.Scan(raw); err == nil && m.Request() {
				_ = theirs.Write(context.Background(), (&wire.Error{Code: -32601, Message: "no such method"}).Response(m.ID()))
			}
		}
	}()
	return ours, nil
}

func (b modernOnly) Single(ctx context.Context) (wire.Pipe, error) {
	clients, servers := io.Pipe()
	back, forth := io.Pipe()
	if _, err := b.server.Connect(context.WithoutCancel(ctx), &mcp.IOTransport{Reader: clients, Writer: forth}, nil); err != nil {
		return nil, err
	}
	return &lines{r: bufio.NewReader(back), w: servers}, nil
}

// lines is a conversation of lines.
type lines struct {
	r *bufio.Reader
	w io.WriteCloser
}

func (l *lines) Read(context.Context) (json.RawMessage, error) { return l.r.ReadBytes('\n') }

func (l *lines) Write(_ context.Context, msg json.RawMessage) error {
	_, err := l.w.Write(append(msg[:len(msg):len(msg)], '\n'))
	return err
}

func (l *lines) Close() error { return l.w.Close() }

// A legacy client reaches a server that is modern only, and is asked by it.
func TestLegacyClientOfAModernServer(t *testing.T) {
	node := bustest.Node(t, nil)
	a, here := join(t, node), join(t, node)
	owner, err := a.reg.NewSession(bustest.Context(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Register(bustest.Context(t), "talker", nil); err != nil {
		t.Fatal(err)
	}
	serving, err := wire.Serve(bustest.Context(t), a.conn, wire.ServeOptions{Name: "talker", Instance: "one", Lease: owner.ID()}, modernOnly{talker("one", nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer serving.Close()
	client := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, nil)
	session, err := client.Connect(bustest.Context(t), stdio(t, here.bus(t, wire.Target{Name: "talker"}), nil), &mcp.ClientSessionOptions{ProtocolVersion: servers.LegacyVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if got := text(t, session, "who"); got != "one" {
		t.Errorf("got %q", got)
	}
	if err := session.Ping(bustest.Context(t), nil); err != nil {
		t.Error(err)
	}
}
