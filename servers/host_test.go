//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package servers_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

func TestServeAndCallByNameGroupAndInstance(t *testing.T) {
	node := bustest.Node(t, nil)
	here, there := newProcess(t, node), newProcess(t, node)
	serving, err := here.host(t).Serve(t.Context(), "Calculator", calculator("one"), &servers.ServeOptions{
		Groups: []string{"math"}, Labels: map[string]string{"team": "a"}, Kind: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	if err := there.reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	record, err := there.reg.Describe("calculator")
	if err != nil || !slices.Contains(record.Groups, "math") || !slices.Contains(record.Groups, "tools") || record.Metadata["mcp.era"] != "modern" || record.Labels["team"] != "a" {
		t.Fatalf("%+v, %v", record, err)
	}
	for _, version := range []string{modern, legacy, ""} {
		for _, to := range []servers.Transport{
			{Name: "calculator"}, {Name: "calculator", Registry: there.reg}, {Group: "math", Registry: there.reg}, {Group: "tools"},
			{Instance: record.Instance, Registry: there.reg}, {Name: "calculator", Instance: record.Instance, Token: serving.Record().Token},
		} {
			to.Conn = there.conn
			session := connect(t, client(nil), &to, version)
			if got := call(t, session, "add", addArgs{5, 3}); got != `{"sum":8}` {
				t.Errorf("%s by %q %q %q: %s", version, to.Name, to.Group, to.Instance, got)
			}
			if version != "" && session.InitializeResult().ProtocolVersion != version {
				t.Errorf("asked for %s, got %s", version, session.InitializeResult().ProtocolVersion)
			}
		}
	}
	if entries := servers.Catalog(t.Context(), there.conn, there.reg); len(entries) != 1 || entries[0].Err != nil || len(entries[0].Tools) != 6 {
		t.Errorf("catalog: %+v", entries)
	}
	session, err := client(nil).Connect(bustest.Context(t), &servers.Transport{Conn: there.conn, Name: "calculator", Token: 1}, nil)
	if err == nil || servers.Failed(err) == nil || !errors.Is(servers.Failed(err), wire.ErrToken) {
		t.Errorf("with another's token: %v, %v", session, err)
	}
}

func TestLegacySessionInBothDirections(t *testing.T) {
	node := bustest.Node(t, nil)
	here, there := newProcess(t, node), newProcess(t, node)
	if _, err := here.host(t).Serve(t.Context(), "calculator", calculator("one"), nil); err != nil {
		t.Fatal(err)
	}
	progress := make(chan float64, 10)
	c := client(&mcp.ClientOptions{
		CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "42"}}, nil
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept"}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { progress <- req.Params.Progress },
	})
	session := connect(t, c, &servers.Transport{Conn: there.conn, Registry: there.reg, Name: "calculator"}, legacy)
	if got := call(t, session, "ask", nil); got != "the model says 42" {
		t.Error(got)
	}
	if got := call(t, session, "choose", nil); got != "the user says accept" {
		t.Error(got)
	}
	for _, version := range []string{legacy, modern} {
		session := connect(t, c, &servers.Transport{Conn: there.conn, Name: "calculator"}, version)
		params := &mcp.CallToolParams{Name: "report"}
		params.SetProgressToken("p")
		if _, err := session.CallTool(bustest.Context(t), params); err != nil {
			t.Fatal(err)
		}
		for want := 1.0; want <= 3; want++ {
			if got := <-progress; got != want {
				t.Errorf("%s: progress %v, want %v", version, got, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "hang"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: a call that was cancelled: %v", version, err)
		}
		cancel()
		bustest.Eventually(t, "the server heard of it", func() bool { return hanging.Load() == 0 })
	}
}

func TestModernClientWithTwoMembers(t *testing.T) {
	node := bustest.Node(t, nil)
	a, b, there := newProcess(t, node), newProcess(t, node), newProcess(t, node)
	for name, p := range map[string]process{"one": a, "two": b} {
		if _, err := p.host(t).Serve(t.Context(), name, calculator(name), nil); err != nil {
			t.Fatal(err)
		}
	}
	session := connect(t, client(nil), &servers.Transport{Conn: there.conn, Group: "tools"}, modern)
	counts := map[string]int{}
	for range 200 {
		counts[call(t, session, "who", nil)]++
	}
	if counts["one"] == 0 || counts["two"] == 0 || counts["one"]+counts["two"] != 200 {
		t.Errorf("the members answered %v", counts)
	}
	// A legacy session stays with the member that it began with.
	pinned := connect(t, client(nil), &servers.Transport{Conn: there.conn, Group: "tools"}, legacy)
	first := call(t, pinned, "who", nil)
	for range 50 {
		if got := call(t, pinned, "who", nil); got != first {
			t.Fatalf("the session was with %s, then with %s", first, got)
		}
	}
}

func TestEverySortOfServer(t *testing.T) {
	node := bustest.Node(t, nil)
	here, there := newProcess(t, node), newProcess(t, node)
	h := here.host(t)
	old := calculatorWith("old", &mcp.ServerOptions{SupportedProtocolVersions: []string{legacy}})
	if _, err := h.Serve(t.Context(), "old", old, nil); err != nil {
		t.Fatal(err)
	}
	if err := there.reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := there.reg.Whereis("old"); err != nil || r.Metadata["mcp.era"] != "legacy" {
		t.Errorf("%+v, %v", r, err)
	}
	session := connect(t, client(nil), &servers.Transport{Conn: there.conn, Registry: there.reg, Name: "old"}, "") // both speak it
	if session.InitializeResult().ProtocolVersion != legacy || call(t, session, "who", nil) != "old" {
		t.Errorf("%+v", session.InitializeResult())
	}
	session = connect(t, client(nil), &servers.Transport{Conn: there.conn, Name: "old"}, "") // nobody knows: it is translated
	if session.InitializeResult().ProtocolVersion != modern || call(t, session, "who", nil) != "old" {
		t.Errorf("%+v", session.InitializeResult())
	}
	// A bare request is answered by servers of both eras.
	if _, err := h.Serve(t.Context(), "new", calculator("new"), nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "new"} {
		m, err := there.conn.NATS().Request("mcp.v1.default.rq.tools/call.who."+name,
			[]byte(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"who"}}`), bustest.Deadline)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m.Data); !slices.Contains([]string{"old", "new"}, name) || !containsAll(got, `"id":9007199254740993`, `"text":"`+name+`"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestLoserLearnsTheOwner(t *testing.T) {
	node := bustest.Node(t, nil)
	a, b := newProcess(t, node), newProcess(t, node)
	first, err := a.host(t).Serve(t.Context(), "calculator", calculator("one"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*servers.Host{b.host(t), a.host(t)} {
		_, err := h.Serve(bustest.Context(t), "calculator", calculator("two"), nil)
		taken, ok := errors.AsType[*registry.NameTakenError](err)
		if !ok || taken.Owner.Instance != first.Record().Instance || taken.Owner.Since.IsZero() {
			t.Errorf("the loser heard %v", err)
		}
	}
}

func TestGoneIsKnownAtOnce(t *testing.T) {
	node := bustest.Node(t, nil)
	here, there := newProcess(t, node), newProcess(t, node)
	h := here.host(t)
	if _, err := h.Start(t.Context(), servers.Tool, "calculator", calculator("one")); err != nil {
		t.Fatal(err)
	}
	if err := there.reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	to := func(name string) *servers.Transport {
		return &servers.Transport{Conn: there.conn, Registry: there.reg, Name: name}
	}
	pinned, free := connect(t, client(nil), to("calculator"), legacy), connect(t, client(nil), to("calculator"), modern)
	failed := make(chan error, 2)
	for _, session := range []*mcp.ClientSession{pinned, free} {
		go func() {
			_, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: "hang"})
			failed <- err
		}()
	}
	bustest.Eventually(t, "both calls hang", func() bool { return hanging.Load() == 2 })
	if err := h.Stop(bustest.Context(t), "calculator"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-failed; err == nil || !(errors.Is(servers.Failed(err), wire.ErrEnded) || errors.Is(servers.Failed(err), wire.ErrNotValid) || errors.Is(servers.Failed(err), wire.ErrNoName)) {
			t.Errorf("a call in flight: %v", err)
		}
	}
	bustest.Eventually(t, "the server's handlers are cancelled", func() bool { return hanging.Load() == 0 })
	if err := h.Stop(t.Context(), "calculator"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("stopped twice: %v", err)
	}
	if err := there.reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := free.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: "who"})
	if !errors.Is(servers.Failed(err), wire.ErrNoName) || servers.Failed(err).Facts().Executed != "no" {
		t.Errorf("a new call: %v", err)
	}
	if err := pinned.Wait(); err == nil {
		t.Error("the pinned session ended without a reason")
	}
}
