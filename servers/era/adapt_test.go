//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package era

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers/wire"
)

type textArgs struct {
	Text string `json:"text"`
}

// legacyServer is an SDK server of the legacy protocol alone, with a tool for each thing that has to be translated.
func legacyServer() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "legacy", Version: "v1"}, &mcp.ServerOptions{
		Instructions: "say something", SupportedProtocolVersions: []string{LegacyVersion},
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	mcp.AddTool(server, &mcp.Tool{Name: "echo"}, func(ctx context.Context, req *mcp.CallToolRequest, in textArgs) (*mcp.CallToolResult, any, error) {
		if token := req.Params.GetProgressToken(); token != nil {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Message: in.Text, Progress: 1})
		}
		_ = req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Data: in.Text})
		_ = req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "debug", Data: "too much"})
		return say("%s", in.Text), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "sample"}, func(ctx context.Context, req *mcp.CallToolRequest, in textArgs) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{
			MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: in.Text}}},
		})
		if err != nil {
			return nil, nil, err
		}
		return say("%s", r.Content.(*mcp.TextContent).Text), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "rounds"}, func(ctx context.Context, req *mcp.CallToolRequest, in textArgs) (*mcp.CallToolResult, any, error) {
		var said []string
		for i := range 3 {
			r, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: fmt.Sprintf("%s %d", in.Text, i)})
			if err != nil {
				return nil, nil, err
			}
			said = append(said, fmt.Sprint(r.Action, " ", r.Content["n"]))
		}
		return say("%s", strings.Join(said, ", ")), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "roots"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.ListRoots(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		return say("%s", r.Roots[0].URI), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "together"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		var wg sync.WaitGroup
		answers := make([]string, 3)
		for i := range answers {
			wg.Go(func() {
				r, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: fmt.Sprint("q ", i)})
				if err == nil {
					answers[i] = fmt.Sprint(r.Content["n"])
				}
			})
		}
		wg.Wait()
		return say("%s", strings.Join(answers, "|")), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "block"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		if token := req.Params.GetProgressToken(); token != nil {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Message: "blocked", Progress: 1})
		}
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	server.AddResource(&mcp.Resource{URI: "file:///a", Name: "a"}, func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: "a"}}}, nil
	})
	server.AddPrompt(&mcp.Prompt{Name: "p"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hi"}}}}, nil
	})
	return server
}

const legacyInitialize = `{"protocolVersion":"` + LegacyVersion + `","serverInfo":{"name":"legacy","version":"v1"},"instructions":"say something",
	"capabilities":{"logging":{},"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true}}}`

// adapt puts an Adapter over a backend.
func adapt(t testing.TB, b wire.Backend, opts *Options) *Adapter {
	t.Helper()
	a, err := Adapt(b, json.RawMessage(legacyInitialize), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// legacy is an Adapter over a fresh legacy server.
func legacy(t testing.TB, opts *Options) (*Adapter, *sdkServer) {
	t.Helper()
	b := &sdkServer{server: legacyServer()}
	t.Cleanup(b.wait)
	return adapt(t, b, opts), b
}

func to(b wire.Stateless) func(wire.Message) Request {
	return func(wire.Message) Request { return Singles(b) }
}

// answering are client options that answer whatever is asked.
func answering() *mcp.ClientOptions {
	return &mcp.ClientOptions{
		CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{
				Text: "sampled " + req.Params.Messages[0].Content.(*mcp.TextContent).Text,
			}}, nil
		},
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"n": req.Params.Message}}, nil
		},
	}
}

func TestModernClientOfALegacyServer(t *testing.T) {
	a, _ := legacy(t, nil)
	s := connect(t, newSwitchboard(to(a)), ModernVersion, answering())
	if got := s.InitializeResult(); got.ProtocolVersion != ModernVersion || got.ServerInfo.Name != "legacy" || got.Instructions != "say something" {
		t.Errorf("discovered %+v", got)
	}
	tools, err := s.ListTools(within(t), nil)
	if err != nil || len(tools.Tools) != 6 {
		t.Errorf("tools: %v, %v", tools, err)
	}
	for _, c := range []struct{ tool, want string }{
		{"echo", "x"}, {"sample", "sampled x"}, {"rounds", "accept x 0, accept x 1, accept x 2"},
		{"roots", "file:///home"}, {"together", "q 0|q 1|q 2"}, {"echo", "x"},
	} {
		args := map[string]any{"text": "x"}
		if c.tool == "roots" || c.tool == "together" {
			args = nil
		}
		if got := callTool(t, s, c.tool, args); got != c.want {
			t.Errorf("%s: %q, want %q", c.tool, got, c.want)
		}
	}
	read, err := s.ReadResource(within(t), &mcp.ReadResourceParams{URI: "file:///a"})
	if err != nil || read.Contents[0].Text != "a" {
		t.Errorf("read: %v, %v", read, err)
	}
	prompt, err := s.GetPrompt(within(t), &mcp.GetPromptParams{Name: "p"})
	if err != nil || len(prompt.Messages) != 1 {
		t.Errorf("prompt: %v, %v", prompt, err)
	}
}

func TestProgressAndLogsBelongToTheirCall(t *testing.T) {
	a, _ := legacy(t, nil)
	var mu sync.Mutex
	var progress, logs []string
	opts := answering()
	opts.ProgressNotificationHandler = func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
		mu.Lock()
		defer mu.Unlock()
		progress = append(progress, fmt.Sprint(req.Params.ProgressToken, req.Params.Message))
	}
	opts.LoggingMessageHandler = func(_ context.Context, req *mcp.LoggingMessageRequest) {
		mu.Lock()
		defer mu.Unlock()
		logs = append(logs, fmt.Sprint(req.Params.Level, req.Params.Data))
	}
	s := connect(t, newSwitchboard(to(a)), ModernVersion, opts)
	params := &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "x"}}
	params.SetProgressToken("mine")
	if _, err := s.CallTool(within(t), params); err != nil {
		t.Fatal(err)
	}
	until(t, "progress", func() bool { mu.Lock(); defer mu.Unlock(); return len(progress) > 0 })
	mu.Lock()
	if len(logs) > 0 || progress[0] != "minex" {
		t.Errorf("without a log level: progress %q, logs %q", progress, logs)
	}
	mu.Unlock()
	params = &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "y"}}
	params.Meta = mcp.Meta{metaLevel: "info"}
	if _, err := s.CallTool(within(t), params); err != nil {
		t.Fatal(err)
	}
	until(t, "logs", func() bool { mu.Lock(); defer mu.Unlock(); return len(logs) > 0 })
	mu.Lock()
	defer mu.Unlock()
	if len(logs) != 1 || logs[0] != "infoy" {
		t.Errorf("logs %q", logs)
	}
}

func TestCallsOfOneClientFindWhatTheOneBeforeHasChanged(t *testing.T) {
	a, b := legacy(t, nil)
	opts := answering()
	opts.ToolListChangedHandler = func(context.Context, *mcp.ToolListChangedRequest) {} // it listens, so its conversation stays
	s := connect(t, newSwitchboard(to(a)), ModernVersion, opts)
	until(t, "the listen", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return listening(a) == 1 })
	for range 20 {
		callTool(t, s, "echo", map[string]any{"text": "x"})
	}
	if n := b.conversations(); n != 1 {
		t.Errorf("%d conversations for one call after the other", n)
	}
	callTool(t, s, "roots", nil)
	callTool(t, s, "echo", map[string]any{"text": "x"})
	if n := b.conversations(); n != 2 {
		t.Errorf("%d conversations: one whose server knows a client's roots serves nobody else", n)
	}
}
