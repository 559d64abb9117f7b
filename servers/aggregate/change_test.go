package aggregate_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/aggregate"
	"github.com/toolbus/toolbus/servers/wire"
)

// TestAChangedListArrives: of servers that can be listened to, and of one that has a session for it.
func TestAChangedListArrives(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	modern, old := toolbox("a", nil), toolbox("old", &mcp.ServerOptions{SupportedProtocolVersions: []string{servers.LegacyVersion}})
	p.serve(t, "a", modern)
	p.serve(t, "old", old)
	aggregated(t, p, nil)
	heard := map[string]*words{}
	sessions := map[string]*mcp.ClientSession{}
	for era, version := range eras {
		heard[era] = &words{}
		sessions[era] = client(t, p, version, heard[era])
		toolNames(t, sessions[era])
	}
	for name, server := range map[string]*mcp.Server{"a": modern, "old": old} {
		mcp.AddTool(server, &mcp.Tool{Name: "extra"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return result("extra"), nil, nil
		})
		for era, session := range sessions {
			told := heard[era]
			eventually(t, era+": the tool of "+name, func() bool { return slices.Contains(toolNames(t, session), name+"__extra") })
			eventually(t, era+": that the tools have changed", func() bool { return told.has("tools") })
		}
		server.RemovePrompts("greet")
		server.RemoveResources("own://" + name)
		for era := range sessions {
			told := heard[era]
			eventually(t, era+": that prompts and resources have changed", func() bool { return told.has("prompts") && told.has("resources") })
		}
		for _, w := range heard {
			w.mu.Lock()
			w.all = nil
			w.mu.Unlock()
		}
	}
}

// TestServersComeAndGo: a server that joins, one that leaves, and one whose process is killed. The lists never fail.
func TestServersComeAndGo(t *testing.T) {
	node := bustest.Node(t, &bus.NodeOptions{Listen: "127.0.0.1:0"})
	p := newProcess(t, node)
	aggregated(t, p, nil)
	victim := bustest.Child(t, "host", node.URL(), "victim")
	if got := victim.Line(); got != "serving" {
		t.Fatalf("the child says %q", got)
	}
	sessions, heard := map[string]*mcp.ClientSession{}, &words{}
	for era, version := range eras {
		sessions[era] = client(t, p, version, heard)
	}
	a := p.serve(t, "a", toolbox("a", nil))
	for era, session := range sessions {
		eventually(t, era+": both servers", func() bool {
			names := toolNames(t, session)
			return len(with(names, "a")) == 7 && len(with(names, "victim")) == 7
		})
		if got := call(t, session, "victim__who", nil); got != "victim" {
			t.Errorf("%s", got)
		}
	}
	hanging := make(chan error, 2)
	for _, session := range sessions {
		go func() {
			params := &mcp.CallToolParams{Name: "victim__hang"}
			params.SetProgressToken(1)
			_, err := session.CallTool(bustest.Context(t), params)
			hanging <- err
		}()
	}
	eventually(t, "both calls are there", func() bool { return heard.count("progress hangs") == 2 })
	victim.Kill()
	for range sessions {
		if err := <-hanging; err == nil {
			t.Error("a call at a killed server succeeded")
		}
	}
	for era, session := range sessions {
		eventually(t, era+": the killed server is gone", func() bool { return len(with(toolNames(t, session), "victim")) == 0 })
		if got := call(t, session, "a__who", nil); got != "a" { // in the same session
			t.Errorf("%s: %s", era, got)
		}
	}
	a.Close()
	for era, session := range sessions {
		eventually(t, era+": nothing is left", func() bool { return len(toolNames(t, session)) == 0 })
	}
}

// mute is a server that takes everything and answers nothing.
type mute struct{}

func (mute) Shared() wire.Pipe                       { ours, _ := wire.Pair(); return ours }
func (mute) Open(context.Context) (wire.Pipe, error) { ours, _ := wire.Pair(); return ours, nil }
func (mute) serve(t testing.TB, p process, name string) {
	t.Helper()
	if _, err := p.host.ServeBackend(bustest.Context(t), name, mute{}, &servers.ServeOptions{Groups: []string{"tools"}}); err != nil {
		t.Fatal(err)
	}
}

func TestASilentServerIsLeftOut(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	mute{}.serve(t, p, "silent")
	p.serve(t, "a", toolbox("a", nil))
	e := aggregated(t, p, &aggregate.Options{Patience: 500 * time.Millisecond})
	for _, version := range eras {
		session := client(t, p, version, nil)
		within(t, 10*time.Second, "two lists and a call", func() {
			if names := toolNames(t, session); len(names) != 7 || len(with(names, "a")) != 7 {
				t.Errorf("%q", names)
			}
			if names := toolNames(t, session); len(names) != 7 {
				t.Errorf("%q", names)
			}
			if got := call(t, session, "a__who", nil); got != "a" {
				t.Error(got)
			}
		})
	}
	if shown, silent := e.Servers(); !slices.Equal(shown, []string{"a"}) || silent != 1 {
		t.Errorf("%q are shown, %d are silent", shown, silent)
	}
}

func TestAGroupLimitsTheEndpoint(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	p.serve(t, "a", toolbox("a", nil), "team")
	b := p.serve(t, "b", toolbox("b", nil))
	aggregated(t, p, &aggregate.Options{Group: "team"})
	session := client(t, p, servers.ModernVersion, nil)
	if names := toolNames(t, session); len(names) != 7 || len(with(names, "a")) != 7 {
		t.Errorf("%q", names)
	}
	if _, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: "b__who"}); err == nil {
		t.Error("a server outside the group was called")
	}
	b.Close()
	p.serve(t, "b", toolbox("b", nil), "team")
	eventually(t, "b has joined", func() bool { return len(with(toolNames(t, session), "b")) == 7 })
}

// TestSubscriptionsAreRoutedAndRestored: a resource that two servers have, and a server that goes away and comes back.
func TestSubscriptionsAreRoutedAndRestored(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	p.serve(t, "a", toolbox("a", nil))
	server := toolbox("b", nil)
	b := p.serve(t, "b", server)
	aggregated(t, p, nil)
	const uri = "mcp+b:file:///readme"
	heard := map[string]*words{}
	sessions := map[string]*mcp.ClientSession{}
	for era, version := range eras {
		heard[era] = &words{}
		sessions[era] = client(t, p, version, heard[era])
		if names := toolNames(t, sessions[era]); len(names) != 14 {
			t.Fatalf("%q", names)
		}
		if err := sessions[era].Subscribe(bustest.Context(t), &mcp.SubscribeParams{URI: uri}); err != nil {
			t.Fatalf("%s: %v", era, err)
		}
	}
	updated := func(server *mcp.Server, before map[string]int) {
		t.Helper()
		for era, w := range heard {
			eventually(t, era+": the update", func() bool {
				_ = server.ResourceUpdated(bustest.Context(t), &mcp.ResourceUpdatedNotificationParams{URI: "file:///readme"})
				return w.count("updated "+uri) > before[era]
			})
		}
	}
	updated(server, nil)
	b.Close()
	for era, session := range sessions {
		eventually(t, era+": b is gone", func() bool { return len(with(toolNames(t, session), "b")) == 0 })
	}
	before := map[string]int{}
	for era, w := range heard {
		before[era] = w.count("updated " + uri)
	}
	again := toolbox("b", nil)
	p.serve(t, "b", again)
	updated(again, before)
	for era, session := range sessions {
		if err := session.Unsubscribe(bustest.Context(t), &mcp.UnsubscribeParams{URI: uri}); err != nil {
			t.Errorf("%s: %v", era, err)
		}
	}
}

// TestBytesPassAsTheyAre: numbers that no float64 holds, members that nobody knows, ids of any kind.
func TestBytesPassAsTheyAre(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	const odd = `{"resultType":"odd","n":9007199254740993,"x":1.50,"content":[]}`
	raw := toolbox("raw", nil)
	p.serve(t, "a", raw)
	echo := echoing{result: odd, seen: make(chan string, 16)}
	if _, err := p.host.ServeBackend(bustest.Context(t), "echo", echo, &servers.ServeOptions{Groups: []string{"tools"}}); err != nil {
		t.Fatal(err)
	}
	aggregated(t, p, nil)
	caller, err := wire.NewCaller(p.conn, servers.CallerOptions(p.reg))
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	pipe, err := caller.Dial(wire.Target{Name: "all"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := bustest.Context(t)
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"own":9007199254740993}`
	for _, id := range []string{`9007199254740993`, `1.50`, `"\u00e4"`} {
		if err := pipe.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":{"name":"echo__x","y" : 1.50,`+meta+`},"z":{}}`)); err != nil {
			t.Fatal(err)
		}
		got, err := pipe.Read(ctx)
		if want := `{"jsonrpc":"2.0","id":` + id + `,"result":` + odd + `}`; err != nil || string(got) != want {
			t.Errorf("got  %s\nwant %s, %v", got, want, err)
		}
		if got := <-echo.seen; !strings.HasSuffix(got, `"method":"tools/call","params":{"name":"x","y" : 1.50,`+meta+`},"z":{}}`) {
			t.Errorf("the server has got %s", got)
		}
	}
}

// echoing is a server with the tool x, which answers with the same bytes.
type echoing struct {
	mute
	result string
	seen   chan string
}

func (e echoing) Shared() wire.Pipe {
	ours, theirs := wire.Pair()
	go func() {
		for {
			raw, err := theirs.Read(context.Background()) // the wire closes it
			if err != nil {
				return
			}
			m, err := wire.Scan(raw)
			if err != nil || !m.Request() {
				continue
			}
			result := `{"tools":[{"name":"x"}]}`
			switch m.Method {
			case "tools/call":
				e.seen <- string(raw)
				result = e.result
			case "tools/list":
			case "subscriptions/listen":
				_ = theirs.Write(context.Background(), json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{},"_meta":{"io.modelcontextprotocol/subscriptionId":`+string(m.ID())+`}}}`))
				continue
			default:
				result = `{}`
			}
			_ = theirs.Write(context.Background(), json.RawMessage(`{"jsonrpc":"2.0","id":`+string(m.ID())+`,"result":`+result+`}`))
		}
	}()
	return ours
}
