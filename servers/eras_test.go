//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package servers_test

import (
	"context"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers"
)

// answering are a client's answers to what calculator asks.
func answering() *mcp.ClientOptions {
	return &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "42"}}, nil
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept"}, nil
		},
	}
}

func TestTranslationOverTheBus(t *testing.T) {
	node := bustest.Node(t, nil)
	here, there := newProcess(t, node), newProcess(t, node)
	h := here.host(t)
	old := calculatorWith("old", &mcp.ServerOptions{SupportedProtocolVersions: []string{legacy}})
	if _, err := h.Serve(t.Context(), "old", old, nil); err != nil {
		t.Fatal(err)
	}
	young := calculatorWith("young", &mcp.ServerOptions{SupportedProtocolVersions: []string{modern}})
	young.AddTool(&mcp.Tool{Name: "input", InputSchema: map[string]any{"type": "object"}}, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		r, ok := req.Params.InputResponses["q"].(*mcp.ElicitResult)
		if !ok {
			return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"q": &mcp.ElicitParams{Message: "which?"}}}, nil
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: r.Action}}}, nil
	})
	if _, err := h.Serve(t.Context(), "young", young, nil); err != nil {
		t.Fatal(err)
	}
	session := connect(t, client(answering()), &servers.Transport{Conn: there.conn, Name: "old"}, modern)
	if got := session.InitializeResult().ProtocolVersion; got != modern {
		t.Errorf("a modern client speaks %s", got)
	}
	var calls sync.WaitGroup
	for range 4 { // suspended side by side
		calls.Go(func() {
			if got := call(t, session, "ask", nil); got != "the model says 42" {
				t.Errorf("ask: %q", got)
			}
		})
	}
	calls.Wait()
	if got := call(t, session, "choose", nil); got != "the user says accept" {
		t.Errorf("choose: %q", got)
	}
	session = connect(t, client(answering()), &servers.Transport{Conn: there.conn, Name: "young"}, legacy)
	if got := session.InitializeResult(); got.ProtocolVersion != legacy || got.ServerInfo.Name != "calculator" {
		t.Errorf("a legacy client was told %+v", got)
	}
	if got := call(t, session, "input", nil); got != "accept" {
		t.Errorf("input: %q", got)
	}
}

// A retry goes to any member of the group; the one that has the call answers it.
func TestRetriesFindTheirInstance(t *testing.T) {
	node := bustest.Node(t, nil)
	there := newProcess(t, node)
	for _, name := range []string{"old-1", "old-2", "old-3"} {
		p := newProcess(t, node)
		old := calculatorWith("old", &mcp.ServerOptions{SupportedProtocolVersions: []string{legacy}})
		if _, err := p.host(t).Serve(t.Context(), name, old, &servers.ServeOptions{Groups: []string{"old"}}); err != nil {
			t.Fatal(err)
		}
	}
	session := connect(t, client(answering()), &servers.Transport{Conn: there.conn, Group: "old"}, modern)
	for range 20 { // two in three retries come to another one first
		if got := call(t, session, "choose", nil); got != "the user says accept" {
			t.Fatalf("choose: %q", got)
		}
	}
}
