package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
)

func TestModernClient(t *testing.T) {
	p := newPlace(t)
	p.serve(t, "probe", newProbe().Server)
	g := p.gateway(t, nil)
	progress := make(chan float64, 10)
	session := connect(t, g.url("probe"), modern, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { progress <- req.Params.Progress },
	})
	if got := call(t, session, "echo", map[string]string{"text": "größer"}); got != "größer" {
		t.Errorf("echo: %q", got)
	}
	if got := call(t, session, "large", map[string]int{"bytes": 8 << 20}); len(got) != 8<<20 {
		t.Errorf("large: %d bytes", len(got))
	}
	params := &mcp.CallToolParams{Name: "report"}
	params.SetProgressToken("p")
	if _, err := session.CallTool(bustest.Context(t), params); err != nil {
		t.Fatal(err)
	}
	for want := range 3 {
		if got := <-progress; got != float64(want+1) {
			t.Errorf("progress %v, want %d", got, want+1)
		}
	}
	if _, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: "nonsense"}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("an unknown tool: %v", err)
	}
}

func TestModernCancel(t *testing.T) {
	p := newPlace(t)
	probe := newProbe()
	p.serve(t, "probe", probe.Server)
	session := connect(t, p.gateway(t, nil).url("probe"), modern, nil)
	ctx, cancel := context.WithCancel(bustest.Context(t))
	done := make(chan error, 1)
	go func() {
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "hang"})
		done <- err
	}()
	bustest.Eventually(t, "the call is in the server", func() bool { return probe.hanging.Load() == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	bustest.Eventually(t, "the call is cancelled in the server", func() bool { return probe.hanging.Load() == 0 })
}

func TestModernSubscription(t *testing.T) {
	p := newPlace(t)
	probe := newProbe()
	p.serve(t, "probe", probe.Server)
	changed := make(chan struct{}, 10)
	connect(t, p.gateway(t, nil).url("probe"), modern, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	})
	tools := 0
	bustest.Eventually(t, "a change of the tools is told", func() bool { // the SDK's client listens some time after it has connected
		tools++
		probe.AddTool(&mcp.Tool{Name: fmt.Sprintf("new%d", tools), InputSchema: map[string]any{"type": "object"}}, nil)
		select {
		case <-changed:
			return true
		default:
			return false
		}
	})
}

func TestUnknownName(t *testing.T) {
	p := newPlace(t)
	g := p.gateway(t, nil)
	for _, version := range versions {
		c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "v1"}, nil)
		_, err := c.Connect(bustest.Context(t), &mcp.StreamableClientTransport{Endpoint: g.url("nobody")}, &mcp.ClientSessionOptions{ProtocolVersion: version})
		if err == nil || !strings.Contains(err.Error(), "no server is registered as nobody") {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestManyModernCalls(t *testing.T) {
	p := newPlace(t)
	p.serve(t, "probe", newProbe().Server)
	many(t, connect(t, p.gateway(t, nil).url("probe"), modern, nil))
}

// many makes 1,000 calls at once and looks at each answer.
func many(t *testing.T, session *mcp.ClientSession) {
	t.Helper()
	ctx := bustest.Context(t)
	var work sync.WaitGroup
	var bad sync.Map
	for i := range 1000 {
		work.Go(func() {
			want := fmt.Sprintf("call %d", i)
			r, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]string{"text": want}})
			if err != nil {
				bad.Store(i, err)
			} else if got := r.Content[0].(*mcp.TextContent).Text; got != want {
				bad.Store(i, got)
			}
		})
	}
	work.Wait()
	n := 0
	bad.Range(func(i, what any) bool {
		if n++; n < 5 {
			t.Errorf("call %v: %v", i, what)
		}
		return true
	})
	if n > 0 {
		t.Errorf("%d calls failed", n)
	}
}
