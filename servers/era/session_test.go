//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package era

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers/wire"
)

// modernServer is an SDK server of the modern protocol alone.
func modernServer() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "modern", Version: "v1"}, &mcp.ServerOptions{
		Instructions: "say something", SupportedProtocolVersions: []string{ModernVersion},
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	mcp.AddTool(server, &mcp.Tool{Name: "echo"}, func(ctx context.Context, req *mcp.CallToolRequest, in textArgs) (*mcp.CallToolResult, any, error) {
		if token := req.Params.GetProgressToken(); token != nil {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Message: in.Text, Progress: 1})
		}
		_ = req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Data: in.Text})
		return say("%s", in.Text), nil, nil
	})
	server.AddTool(&mcp.Tool{Name: "ask", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if req.Params.InputResponses == nil {
			return &mcp.CallToolResult{RequestState: "s1", InputRequests: mcp.InputRequestMap{
				"e": &mcp.ElicitParams{Message: "sure?"}, "r": &mcp.ListRootsParams{},
				"s": &mcp.CreateMessageParams{MaxTokens: 1, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "x"}}}},
			}}, nil
		}
		r := req.Params.InputResponses
		return say("%v %v %v %v", r["e"].(*mcp.ElicitResult).Action, r["r"].(*mcp.ListRootsResult).Roots[0].URI,
			r["s"].(*mcp.CreateMessageWithToolsResult).Content[0].(*mcp.TextContent).Text, req.Params.RequestState), nil
	})
	server.AddTool(&mcp.Tool{Name: "for ever", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"e": &mcp.ElicitParams{Message: "again?"}}}, nil
	})
	server.AddTool(&mcp.Tool{Name: "block", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Message: "blocked", Progress: 1})
		<-ctx.Done()
		return nil, ctx.Err()
	})
	server.AddResource(&mcp.Resource{URI: "file:///a", Name: "a"}, func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: "a"}}}, nil
	})
	return server
}

func TestLegacyClientOfAModernServer(t *testing.T) {
	b := &sdkServer{server: modernServer()}
	t.Cleanup(b.wait)
	var mu sync.Mutex
	heard := map[string]int{}
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		heard[what]++
	}
	seen := func(what string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return heard[what] > 0 }
	}
	opts := answering()
	opts.ProgressNotificationHandler = func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
		note(fmt.Sprint(req.Params.ProgressToken, req.Params.Message))
	}
	opts.LoggingMessageHandler = func(_ context.Context, req *mcp.LoggingMessageRequest) { note(fmt.Sprint("log ", req.Params.Data)) }
	opts.ToolListChangedHandler = func(context.Context, *mcp.ToolListChangedRequest) { note("tools") }
	opts.ResourceUpdatedHandler = func(_ context.Context, req *mcp.ResourceUpdatedNotificationRequest) { note(req.Params.URI) }
	session := NewSession(Singles(b), nil)
	s := connect(t, session, LegacyVersion, opts)
	if got := s.InitializeResult(); got.ProtocolVersion != LegacyVersion || got.ServerInfo.Name != "modern" || got.Instructions != "say something" {
		t.Errorf("initialized %+v", got)
	}
	if err := s.Ping(within(t), nil); err != nil {
		t.Error(err)
	}
	params := &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "x"}}
	params.SetProgressToken("mine")
	if _, err := s.CallTool(within(t), params); err != nil {
		t.Fatal(err)
	}
	until(t, "progress", seen("minex"))
	if seen("log x")() {
		t.Error("it logs before it was told to")
	}
	if err := s.SetLoggingLevel(within(t), &mcp.SetLoggingLevelParams{Level: "info"}); err != nil {
		t.Fatal(err)
	}
	callTool(t, s, "echo", map[string]any{"text": "y"})
	until(t, "the log", seen("log y"))
	if got := callTool(t, s, "ask", nil); got != "accept file:///home sampled x s1" {
		t.Errorf("ask: %q", got)
	}
	if _, err := s.CallTool(within(t), &mcp.CallToolParams{Name: "for ever"}); err == nil || !strings.Contains(err.Error(), "10 times") {
		t.Errorf("a server that asks for ever: %v", err)
	}
	if err := s.Subscribe(within(t), &mcp.SubscribeParams{URI: "file:///a"}); err != nil {
		t.Fatal(err)
	}
	if err := b.server.ResourceUpdated(within(t), &mcp.ResourceUpdatedNotificationParams{URI: "file:///a"}); err != nil {
		t.Fatal(err)
	}
	until(t, "updated", seen("file:///a"))
	if err := s.Unsubscribe(within(t), &mcp.UnsubscribeParams{URI: "file:///a"}); err != nil {
		t.Fatal(err)
	}
	b.server.AddTool(&mcp.Tool{Name: "late", InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
	until(t, "list_changed", seen("tools"))
	if _, err := s.ReadResource(within(t), &mcp.ReadResourceParams{URI: "file:///b"}); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("no such resource: %v", err)
	}
}

func TestCancellationReachesAModernServer(t *testing.T) {
	b := &sdkServer{server: modernServer()}
	t.Cleanup(b.wait)
	blocked := make(chan struct{}, 1)
	session := NewSession(Singles(b), nil)
	s := connect(t, session, LegacyVersion, &mcp.ClientOptions{
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { blocked <- struct{}{} },
	})
	ctx, cancel := context.WithCancel(within(t))
	over := make(chan error, 1)
	params := &mcp.CallToolParams{Name: "block"}
	params.SetProgressToken("p")
	go func() {
		_, err := s.CallTool(ctx, params)
		over <- err
	}()
	<-blocked
	cancel()
	<-over
	until(t, "nothing is pending", func() bool {
		session.mu.Lock()
		defer session.mu.Unlock()
		return len(session.pending) == 0
	})
}

// answers is a modern server by hand: one answer after the other, whatever it is asked.
type answers struct {
	mu    sync.Mutex
	heard []string
	reply func(n int, m wire.Message) []string
}

func (a *answers) request(_ ctx, msg json.RawMessage) (Stream, error) {
	m, _ := wire.Scan(msg)
	a.mu.Lock()
	a.heard = append(a.heard, string(msg))
	n := len(a.heard)
	a.mu.Unlock()
	q := newQueue()
	for _, text := range a.reply(n, m) {
		q.put(json.RawMessage(strings.ReplaceAll(text, "ID", string(m.ID()))))
	}
	return held{q}, nil
}

func (a *answers) told() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.heard...)
}

type held struct{ q *queue }

func (h held) Read(ctx ctx) (json.RawMessage, error) { return h.q.read(ctx) }
func (h held) Close() error                          { return nil }

const discovered = `{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"strange":1.0,"capabilities":{"tools":{},"resources":{"subscribe":true},"tasks":1e3},"ttlMs":0}}`

// byHand opens a session by hand.
func byHand(t testing.TB, a *answers, capabilities string) (*Session, func(string) string) {
	t.Helper()
	s := NewSession(a.request, &SessionOptions{Pause: time.Millisecond})
	t.Cleanup(func() { s.Close() })
	exchange := func(msg string) string {
		t.Helper()
		if msg != "" {
			if err := s.Write(within(t), json.RawMessage(msg)); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := s.Read(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	got := exchange(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":` + capabilities + `,"clientInfo":{"name":"c"}}}`)
	r := result(t, got)
	if r.text("protocolVersion") != "2025-06-18" || string(r.get("strange")) != "1.0" || !strings.Contains(got, `"tasks":1e3`) || r.get("serverInfo") == nil {
		t.Errorf("initialize: %s", got)
	}
	return s, exchange
}

func TestTheBytesOfASessionStay(t *testing.T) {
	a := &answers{reply: func(n int, m wire.Message) []string {
		switch {
		case m.Method == methodDiscover:
			return []string{discovered}
		case n == 2:
			return []string{`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"message":"?","n":12345678901234567890}}},"requestState":"a\u00e9"}}`}
		}
		return []string{`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","content":[],"structuredContent":[1],"n":1e400}}`}
	}}
	_, exchange := byHand(t, a, `{"elicitation":{},"roots":{"listChanged":true},"tasks":{}}`)
	ask := exchange(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"x","arguments":{"n":123456789012345678901}}}`)
	m, _ := wire.Scan([]byte(ask))
	if m.Method != methodElicit || !strings.Contains(ask, `"n":12345678901234567890`) {
		t.Fatalf("asked: %s", ask)
	}
	got := exchange(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"result":{"action":"accept","content":{"f":1.50}}}`)
	if !strings.Contains(got, `"id":9007199254740993`) || !strings.Contains(got, `"n":1e400`) || strings.Contains(got, "resultType") || strings.Contains(got, "structured") {
		t.Errorf("the answer: %s", got)
	}
	heard := a.told()
	for _, want := range []string{`"` + metaVersion + `":"` + ModernVersion, `"` + metaCapabilities + `":{"elicitation":{},"roots":{}}`, `"` + metaClient + `":{"name":"c"}`, `"n":123456789012345678901`} {
		if !strings.Contains(heard[1], want) || !strings.Contains(heard[2], want) {
			t.Errorf("the server was not told %s twice: %s", want, heard[1:])
		}
	}
	if !strings.Contains(heard[2], `"requestState":"a\u00e9"`) || !strings.Contains(heard[2], `"k":{"action":"accept","content":{"f":1.50}}`) || strings.Contains(heard[2], "9007199254740993") {
		t.Errorf("the retry: %s", heard[2])
	}
}

func TestAnAnswerThatFailsEndsTheCall(t *testing.T) {
	a := &answers{reply: func(n int, m wire.Message) []string {
		if m.Method == methodDiscover {
			return []string{discovered}
		}
		return []string{`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"1"}},"b":{"method":"elicitation/create","params":{"message":"2"}}}}}`}
	}}
	_, exchange := byHand(t, a, `{"elicitation":{}}`)
	first, _ := wire.Scan([]byte(exchange(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x"}}`)))
	second, _ := wire.Scan([]byte(exchange("")))
	got := exchange(`{"jsonrpc":"2.0","id":` + string(first.ID()) + `,"error":{"code":-1,"message":"user is asleep","data":{"until":7}}}`)
	if m, _ := wire.Scan([]byte(got)); m.Method != methodCancelled || string(m.At(wire.PlaceCancelled)) != string(second.ID()) {
		t.Errorf("the other question: %s", got)
	}
	if got := exchange(""); !strings.Contains(got, `"id":5`) || !strings.Contains(got, `{"code":-1,"message":"user is asleep","data":{"until":7}}`) {
		t.Errorf("the call: %s", got)
	}
	_, exchange = byHand(t, a, `{}`)
	if got := exchange(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x"}}`); code(got) != "-32603" {
		t.Errorf("a client that cannot be asked: %s", got)
	}
}

func TestAListenBeginsAgain(t *testing.T) {
	a := &answers{reply: func(n int, m wire.Message) []string {
		if m.Method == methodDiscover {
			return []string{discovered}
		}
		ack := `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"` + metaSubscription + `":ID},"notifications":{"resourceSubscriptions":["u"]}}}`
		if n < 4 {
			return []string{ack, `{"jsonrpc":"2.0","id":ID,"result":{}}`}
		}
		return []string{ack, `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"` + metaSubscription + `":ID,"keep":1},"uri":"u"}}`}
	}}
	_, exchange := byHand(t, a, `{}`)
	if got := exchange(`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"u"}}`); string(result(t, got).raw()) != "{}" {
		t.Errorf("subscribed: %s", got)
	}
	for range 2 { // the news that a gap may have hidden
		if got := exchange(""); got != `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"u"}}` {
			t.Errorf("after a gap: %s", got)
		}
	}
	if got := exchange(""); got != `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"u","_meta":{"keep":1}}}` {
		t.Errorf("news: %s", got)
	}
}

func TestASessionKeepsItsRules(t *testing.T) {
	a := &answers{reply: func(int, wire.Message) []string { return []string{discovered} }}
	s := NewSession(a.request, nil)
	defer s.Close()
	if err := s.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)); err != nil {
		t.Fatal(err)
	}
	if raw, err := s.Read(within(t)); err != nil || code(string(raw)) != "-32600" {
		t.Errorf("before initialize: %s, %v", raw, err)
	}
	_, exchange := byHand(t, a, `{}`)
	for msg, want := range map[string]string{
		`{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}`:                             "-32600",
		`{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"info"}}`:         "-32601",
		`{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen","params":{"notifications":{}}}`: "-32601",
		`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{}}`:                    "-32602",
		`{"jsonrpc":"2.0","id":2,"method":"ping"}`:                                               "",
	} {
		if got := exchange(msg); code(got) != want {
			t.Errorf("%s: %s", msg, got)
		}
	}
	s.Close()
	if err := s.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":3,"method":"ping"}`)); err == nil {
		t.Error("a closed session takes messages")
	}
}
