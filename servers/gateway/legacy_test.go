//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/gateway"
)

// balancer sends each request to the next of several gateways that are not closed.
func balancer(t *testing.T, replicas ...*replica) string {
	t.Helper()
	var n atomic.Int64
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			next := replicas[int(n.Add(1))%len(replicas)]
			for next.out.Load() {
				next = replicas[int(n.Add(1))%len(replicas)]
			}
			to, err := url.Parse(next.http.URL)
			if err != nil {
				panic(err)
			}
			r.SetURL(to)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// answering are the options of a client that answers what a server asks, and notes progress and changes.
func answering(progress chan<- float64, changed chan<- struct{}) *mcp.ClientOptions {
	return &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "42"}}, nil
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept"}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { progress <- req.Params.Progress },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	}
}

// TestSessionOverTwoGateways lets a balancer send each request of one session to another gateway.
func TestSessionOverTwoGateways(t *testing.T) {
	p := newPlace(t)
	probe := newProbe()
	p.serve(t, "probe", probe.Server)
	one, two := p.gateway(t, nil), p.gateway(t, nil)
	progress, changed := make(chan float64, 100), make(chan struct{}, 10)
	session := connect(t, balancer(t, one, two)+"/s/probe/mcp", legacy, answering(progress, changed))
	for range 4 { // each replica answers each kind of request
		if got := call(t, session, "echo", map[string]string{"text": "hi"}); got != "hi" {
			t.Errorf("echo: %q", got)
		}
		if got := call(t, session, "ask", nil); got != "the model says 42" {
			t.Errorf("ask: %q", got)
		}
		if got := call(t, session, "choose", nil); got != "the user says accept" {
			t.Errorf("choose: %q", got)
		}
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
	probe.AddTool(&mcp.Tool{Name: "new", InputSchema: map[string]any{"type": "object"}}, nil)
	select {
	case <-changed:
	case <-bustest.Context(t).Done():
		t.Error("the client was not told that the tools changed")
	}
	if got := call(t, session, "large", map[string]int{"bytes": 8 << 20}); len(got) != 8<<20 {
		t.Errorf("large: %d bytes", len(got))
	}
}

// TestGoOnAtAnotherGateway closes the gateway that has a call under way: the client gets its answer from the other.
func TestGoOnAtAnotherGateway(t *testing.T) {
	p := newPlace(t)
	probe := newProbe()
	p.serve(t, "probe", probe.Server)
	one, two := p.gateway(t, nil), p.gateway(t, nil)
	session := connect(t, balancer(t, one, two)+"/s/probe/mcp", legacy, answering(nil, nil))
	const calls = 4 // some of them by each gateway
	answers := make(chan string, calls)
	for range calls {
		go func() {
			r, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: "hang"})
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- r.Content[0].(*mcp.TextContent).Text
		}()
	}
	bustest.Eventually(t, "the calls are in the server, and their streams have begun", func() bool {
		return probe.hanging.Load() == calls && one.streams.Load()+two.streams.Load() >= calls
	})
	one.close()
	for range calls {
		probe.release <- struct{}{}
	}
	for range calls {
		if got := <-answers; got != "released" {
			t.Errorf("got %q", got)
		}
	}
	if got := call(t, session, "ask", nil); got != "the model says 42" { // the server's question has found the client again
		t.Errorf("ask: %q", got)
	}
}

func TestLegacyCancel(t *testing.T) {
	p := newPlace(t)
	probe := newProbe()
	p.serve(t, "probe", probe.Server)
	session := connect(t, p.gateway(t, nil).url("probe"), legacy, nil)
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

func TestManyLegacyCalls(t *testing.T) {
	p := newPlace(t)
	p.serve(t, "probe", newProbe().Server)
	many(t, connect(t, p.gateway(t, nil).url("probe"), legacy, nil))
}

// TestSessionsEndWithTheirInstance sees 404 once the server is gone, and a new session with the one that comes after it.
func TestSessionsEndWithTheirInstance(t *testing.T) {
	p := newPlace(t)
	serving := p.serve(t, "probe", newProbe().Server)
	g := p.gateway(t, &gateway.Options{})
	session := connect(t, g.url("probe"), legacy, nil)
	call(t, session, "echo", map[string]string{"text": "hi"})
	if err := serving.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := session.CallTool(bustest.Context(t), &mcp.CallToolParams{Name: "echo"}); !errors.Is(err, mcp.ErrSessionMissing) && err == nil {
		t.Errorf("a call in a session whose server has ended: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "DELETE", g.url("probe"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Mcp-Session-Id", session.ID())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNotFound {
		t.Errorf("%s: %s", resp.Status, body)
	}
	p.serve(t, "probe", newProbe().Server)
	call(t, connect(t, g.url("probe"), legacy, nil), "echo", map[string]string{"text": "hi"})
}
