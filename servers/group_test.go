package servers_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// newGroup is a group as the process p reaches it.
func (p process) group(t testing.TB, name string) *servers.Group {
	t.Helper()
	caller, err := wire.NewCaller(p.conn, servers.CallerOptions(p.reg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	g, err := servers.NewGroup(caller, p.reg, name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (p process) join(t testing.TB, name string, server *mcp.Server) {
	t.Helper()
	if _, err := p.host(t).Serve(t.Context(), name, server, &servers.ServeOptions{Groups: []string{"all"}}); err != nil {
		t.Fatal(err)
	}
}

func TestAllMembersAnswer(t *testing.T) {
	t.Parallel()
	node := bustest.Node(t, nil)
	asks := newProcess(t, node)
	testAll(t, asks, newProcess(t, node), newProcess(t, node), newProcess(t, node))
}

// The same without a log in NATS: a registry in memory, connections in the process.
func TestAllMembersAnswerInLocalMode(t *testing.T) {
	t.Parallel()
	node := bustest.Node(t, nil)
	reg, err := registry.Open(t.Context(), kvstore.NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close(context.Background()) })
	one := func() process { return process{conn: bustest.Connect(t, node), reg: reg} }
	testAll(t, one(), one(), one(), one())
}

func testAll(t *testing.T, asks, a, b, c process) {
	g := asks.group(t, "all")
	if _, _, err := g.AskAll(bustest.Context(t), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)); !errors.Is(err, wire.ErrNoResponders) && !errors.Is(err, wire.ErrNoName) {
		t.Errorf("nobody is there: %v", err)
	}
	if err := g.Publish(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/x"}`)); err != nil {
		t.Errorf("to nobody: %v", err)
	}
	a.join(t, "a", calculator("a"))
	b.join(t, "b", calculator("b"))
	deaf := mcp.NewServer(&mcp.Implementation{Name: "deaf"}, nil)
	var told atomic.Int32
	mcp.AddTool(deaf, &mcp.Tool{Name: "who"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		<-ctx.Done()
		told.Add(1)
		return nil, nil, ctx.Err()
	})
	bustest.Eventually(t, "both members are seen", func() bool { m, _ := asks.reg.Members("all"); return len(m) == 2 })
	answers, silent, err := g.CallAll(bustest.Context(t), &mcp.CallToolParams{Name: "who"})
	if err != nil || len(answers) != 2 || len(silent) != 0 {
		t.Fatalf("%+v, silent %v, %v", answers, silent, err)
	}
	for _, answer := range answers {
		if answer.Err != nil || answer.Result.Content[0].(*mcp.TextContent).Text != answer.Name || answer.Instance == "" {
			t.Errorf("%+v", answer)
		}
	}
	// One that does not answer is named, and told that nobody waits any more.
	c.join(t, "c", deaf)
	bustest.Eventually(t, "the third member is seen", func() bool { m, _ := asks.reg.Members("all"); return len(m) == 3 })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	answers, silent, err = g.CallAll(ctx, &mcp.CallToolParams{Name: "who"})
	if err != nil || len(answers) != 2 || len(silent) != 1 || silent[0].Name != "c" {
		t.Errorf("%+v, silent %v, %v", answers, silent, err)
	}
	bustest.Eventually(t, "the silent one is told", func() bool { return told.Load() == 1 })
}

// relay is a backend that notes what it is told.
type relay struct{ heard chan string }

func (r relay) Shared() wire.Pipe {
	ours, theirs := wire.Pair()
	go func() { // ends with the pipe
		for {
			raw, err := theirs.Read(context.Background())
			if err != nil {
				return
			}
			r.heard <- string(raw)
		}
	}()
	return ours
}

func (r relay) Open(context.Context) (wire.Pipe, error) { return nil, errors.New("no sessions") }

func TestNotificationReachesAllMembers(t *testing.T) {
	t.Parallel()
	node := bustest.Node(t, nil)
	asks := newProcess(t, node)
	members := []relay{{make(chan string, 4)}, {make(chan string, 4)}}
	for i, m := range members {
		if _, err := asks.host(t).ServeBackend(t.Context(), string(rune('a'+i)), m, &servers.ServeOptions{Groups: []string{"all"}}); err != nil {
			t.Fatal(err)
		}
	}
	const news = `{"jsonrpc":"2.0","method":"notifications/x","params":{"big":9007199254740993}}`
	if err := asks.group(t, "all").Publish(t.Context(), json.RawMessage(news)); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		select {
		case got := <-m.heard:
			if got != news {
				t.Errorf("heard %s", got)
			}
		case <-bustest.Context(t).Done():
			t.Fatal("a member was not told")
		}
	}
}

func TestPanicEndsOneCall(t *testing.T) {
	t.Parallel()
	p := newProcess(t, bustest.Node(t, nil))
	server := calculator("w")
	server.AddReceivingMiddleware(servers.Recover(slog.New(slog.DiscardHandler)))
	mcp.AddTool(server, &mcp.Tool{Name: "panics"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		panic("no")
	})
	p.join(t, "w", server)
	session := connect(t, client(nil), &servers.Transport{Conn: p.conn, Name: "w"}, servers.LegacyVersion)
	_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "panics"})
	if failure, ok := errors.AsType[*jsonrpc.Error](err); !ok || failure.Code != jsonrpc.CodeInternalError || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("%v", err)
	}
	if got := call(t, session, "who", nil); got != "w" {
		t.Errorf("the next call: %q", got)
	}
}
