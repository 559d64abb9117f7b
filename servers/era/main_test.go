//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package era

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/toolbus/toolbus/servers/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must not take long; it is far from what it takes.
const patience = 30 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// sdkPipe lets the official SDK speak through a wire.Pipe.
type sdkPipe struct{ wire.Pipe }

func (p sdkPipe) Connect(context.Context) (mcp.Connection, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return &sdkConn{pipe: p.Pipe, ctx: ctx, cancel: cancel}, nil
}

type sdkConn struct {
	pipe   wire.Pipe
	ctx    context.Context
	cancel context.CancelFunc
}

func (c *sdkConn) SessionID() string { return "" }

func (c *sdkConn) Read(context.Context) (jsonrpc.Message, error) {
	raw, err := c.pipe.Read(c.ctx)
	if err != nil {
		return nil, err
	}
	return jsonrpc.DecodeMessage(raw)
}

func (c *sdkConn) Write(ctx context.Context, msg jsonrpc.Message) error {
	raw, err := jsonrpc.EncodeMessage(msg)
	if err != nil {
		return err
	}
	return c.pipe.Write(ctx, raw)
}

func (c *sdkConn) Close() error {
	c.cancel()
	return c.pipe.Close()
}

// sdkServer is a backend over a server of the SDK: what it speaks is up to the server. It counts its conversations.
type sdkServer struct {
	server *mcp.Server
	mu     sync.Mutex
	opened int
	live   []*mcp.ServerSession
}

func (s *sdkServer) Shared() wire.Pipe { return nil }

func (s *sdkServer) Open(ctx context.Context) (wire.Pipe, error) {
	ours, theirs := wire.Pair()
	session, err := s.server.Connect(context.WithoutCancel(ctx), sdkPipe{theirs}, nil)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	s.live = append(s.live, session)
	return ours, nil
}

func (s *sdkServer) Single(ctx context.Context) (wire.Pipe, error) { return s.Open(ctx) }

// wait is until every session has ended.
func (s *sdkServer) wait() {
	s.mu.Lock()
	live := s.live
	s.mu.Unlock()
	for _, session := range live {
		session.Close()
		_ = session.Wait() // how it ended does not matter
	}
}

func (s *sdkServer) conversations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// switchboard gives each request of a modern client a conversation of its own, as the wire does.
type switchboard struct {
	route func(m wire.Message) Request
	q     *queue
	ctx   context.Context
	stop  context.CancelFunc
	mu    sync.Mutex
	live  map[string]Stream
}

func newSwitchboard(route func(wire.Message) Request) *switchboard {
	s := &switchboard{route: route, q: newQueue(), live: map[string]Stream{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

func (s *switchboard) Read(ctx context.Context) (json.RawMessage, error) { return s.q.read(ctx) }

func (s *switchboard) Write(_ context.Context, raw json.RawMessage) error {
	m, err := wire.Scan(raw)
	if err != nil {
		return err
	}
	if m.Method == methodCancelled {
		s.mu.Lock()
		stream := s.live[string(m.At(wire.PlaceCancelled))]
		s.mu.Unlock()
		if stream != nil {
			return stream.Close()
		}
		return nil
	}
	if !m.Request() {
		return nil
	}
	stream, err := s.route(m)(s.ctx, raw)
	if err != nil {
		return err
	}
	id := string(m.ID())
	s.mu.Lock()
	s.live[id] = stream
	s.mu.Unlock()
	go func() {
		defer stream.Close()
		for {
			raw, err := stream.Read(s.ctx)
			if err != nil {
				return
			}
			s.q.put(raw)
			if m, err := wire.Scan(raw); err == nil && m.Response() {
				return
			}
		}
	}()
	return nil
}

func (s *switchboard) Close() error {
	s.stop()
	s.q.end(io.ErrClosedPipe)
	return nil
}

// connect makes an SDK client on a pipe.
func connect(t testing.TB, p wire.Pipe, version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "v1"}, opts)
	client.AddRoots(&mcp.Root{URI: "file:///home", Name: "home"})
	session, err := client.Connect(within(t), sdkPipe{p}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// callTool calls a tool and returns the text of its answer.
func callTool(t testing.TB, session *mcp.ClientSession, tool string, args map[string]any) string {
	t.Helper()
	result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return text(result)
}

func text(result *mcp.CallToolResult) string {
	var texts []string
	for _, c := range result.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			texts = append(texts, text.Text)
		}
	}
	return strings.Join(texts, "\n")
}

func say(format string, a ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, a...)}}}
}

// until polls for what comes by itself.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
