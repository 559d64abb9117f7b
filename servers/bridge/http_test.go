//go:build unix

//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// site is an HTTP server with an MCP server on it, that can be taken away and put back.
type site struct {
	*httptest.Server
	mcp      *mcp.Server
	handler  atomic.Pointer[http.Handler]
	requests atomic.Int64
	seen     chan http.Header // of POSTs, as far as there is room
}

func newSite(t testing.TB, how string) *site {
	t.Helper()
	var versions []string
	switch how {
	case "legacy", "sse":
		versions = []string{servers.LegacyVersion, "2025-06-18", "2025-03-26", "2024-11-05"}
	}
	s := &site{mcp: newEcho(versions), seen: make(chan http.Header, 1000)}
	get := func(*http.Request) *mcp.Server { return s.mcp }
	var h http.Handler
	switch how {
	case "sse":
		h = mcp.NewSSEHandler(get, nil)
	case "modern":
		h = mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{Stateless: true})
	default:
		h = mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)})
	}
	s.handler.Store(&h)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodPost {
			select {
			case s.seen <- r.Header.Clone():
			default:
			}
		}
		(*s.handler.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		for session := range s.mcp.Sessions() { // of a handler that was taken away
			_ = session.Close()
		}
	})
	return s
}

// away is a site that does not answer but with an error.
func (s *site) away() (restore func()) {
	was := s.handler.Load()
	var gone http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "out to lunch", http.StatusBadGateway) })
	s.handler.Store(&gone)
	s.CloseClientConnections()
	return func() { s.handler.Store(was) }
}

func withKey() *HTTPOptions {
	return &HTTPOptions{Header: http.Header{"Authorization": {"Bearer secret"}}, Health: 50 * time.Millisecond, Timeout: patience / 4}
}

// attach puts a site on the bus.
func (p *peer) attach(t testing.TB, name, url string, opts *AttachOptions) *Running {
	t.Helper()
	if opts == nil {
		opts = &AttachOptions{HTTP: withKey()}
	}
	r, err := Attach(within(t), p.conn, p.reg, name, url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(within(t)); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// Servers of every kind of HTTP are found out, and serve clients through the bus.
func TestAttachSpeaksEveryKindOfHTTP(t *testing.T) {
	here, there := onBus(t)
	for _, test := range []struct {
		how     string
		era     servers.Era
		http    flavour
		clients []string
	}{
		{"modern", servers.Modern, streamable, []string{servers.ModernVersion}},
		{"legacy", servers.Legacy, streamable, []string{servers.LegacyVersion, "2025-03-26"}},
		{"sse", servers.Legacy, sse, []string{servers.LegacyVersion, "2024-11-05"}},
	} {
		t.Run(test.how, func(t *testing.T) {
			s := newSite(t, test.how)
			r := here.attach(t, "on-"+test.how, s.URL, nil)
			if info := r.Info(); info.Era != test.era || !strings.Contains(string(info.Server), `"echo"`) {
				t.Errorf("it is %+v", info)
			}
			eventually(t, "its record says what it is", func() bool {
				rec, err := there.reg.Whereis("on-" + test.how)
				return err == nil && rec.Kind == KindHTTP && rec.Metadata[MetaHTTP] == string(test.http) && rec.Metadata[MetaHealth] == StateUp &&
					rec.Metadata[MetaTools] == "5" && rec.Metadata[MetaURL] == s.URL
			})
			for _, version := range test.clients {
				progress := make(chan string, 1)
				session := there.dial(t, wire.Target{Name: "on-" + test.how}, version, &mcp.ClientOptions{
					ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { progress <- req.Params.Message },
					CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
						return &mcp.CreateMessageResult{Content: req.Params.Messages[0].Content, Model: "m", Role: "assistant"}, nil
					},
					ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
						return &mcp.ElicitResult{Action: "accept", Content: map[string]any{}}, nil
					},
				})
				params := &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "größe <&>"}}
				params.SetProgressToken("p")
				result, err := session.CallTool(within(t), params)
				if err != nil || result.Content[0].(*mcp.TextContent).Text != "größe <&>" {
					t.Fatalf("%s: %+v, %v", version, result, err)
				}
				if got := <-progress; got != "größe <&>" {
					t.Errorf("%s: progress %q", version, got)
				}
				if test.era == servers.Legacy && version == servers.LegacyVersion {
					if got := call(t, session, "ask", map[string]any{"text": "who"}); got != "who accept" {
						t.Errorf("%s: a tool that asks back: %q", version, got)
					}
				}
			}
			// What the SDK's list_changed says reaches the record.
			mcp.AddTool(s.mcp, &mcp.Tool{Name: "fifth"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				return nil, nil, nil
			})
			eventually(t, "the record follows the list", func() bool {
				rec, err := there.reg.Whereis("on-" + test.how)
				return err == nil && rec.Metadata[MetaTools] == "6"
			})
		})
	}
}

// Who needs a key and has none is not registered; what is no MCP server is said to be none.
func TestAttachSaysWhyNot(t *testing.T) {
	s := newSite(t, "legacy")
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello") }))
	defer plain.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for url, want := range map[string]string{
		s.URL: "401: who are you", plain.URL: "text/html", closed.URL: "refused", "ftp://x": "no http", "http://": "no http",
	} {
		h, err := StartHTTP(within(t), url, &HTTPOptions{Timeout: patience / 4})
		if h != nil || !errors.Is(err, ErrStart) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A server that is away keeps its name: calls say why, the record too, and when it is back so are they.
func TestAttachedServerComesBack(t *testing.T) {
	here, there := onBus(t)
	for _, how := range []string{"modern", "legacy"} {
		s := newSite(t, how)
		name := "back-" + how
		here.attach(t, name, s.URL, nil)
		caller, err := wire.NewCaller(there.conn, &wire.CallerOptions{Scope: "test"})
		if err != nil {
			t.Fatal(err)
		}
		defer caller.Close()
		ask := func() string {
			pipe, err := caller.Dial(wire.Target{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			if err := pipe.Write(within(t), bare(1, "tools/list", servers.Era(how), "{}")); err != nil {
				t.Fatal(err)
			}
			return read(t, pipe)
		}
		if got := ask(); !strings.Contains(got, `"echo"`) {
			t.Fatalf("%s: %s", how, got)
		}
		restore := s.away()
		eventually(t, "the record says that it is down", func() bool {
			rec, err := there.reg.Whereis(name)
			return err == nil && rec.Metadata[MetaHealth] == StateDown && strings.Contains(rec.Metadata[MetaWhy], "out to lunch")
		})
		if got := ask(); !strings.Contains(got, "out to lunch") || !strings.Contains(got, strconv.Itoa(wire.CodeBackend)) {
			t.Errorf("%s: a call meanwhile: %s", how, got)
		}
		restore()
		eventually(t, "the record says that it is back", func() bool {
			rec, err := there.reg.Whereis(name)
			return err == nil && rec.Metadata[MetaHealth] == StateUp && rec.Metadata[MetaWhy] == ""
		})
		eventually(t, "calls are answered again", func() bool { return strings.Contains(ask(), `"echo"`) })
	}
}

// A session that the server has forgotten ends for its client too.
func TestForgottenSessionEnds(t *testing.T) {
	s := newSite(t, "legacy")
	h, err := StartHTTP(within(t), s.URL, withKey())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	p, err := h.Open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	session := connect(t, p, servers.LegacyVersion, nil)
	call(t, session, "echo", map[string]any{"text": "a"})
	fresh := http.Handler(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp }, nil))
	s.handler.Store(&fresh)
	_ = p.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":"late","method":"tools/list"}`))
	eventually(t, "the session has ended", func() bool { return p.(talker).Err() != nil })
	if err := p.(talker).Err(); !errors.Is(err, errSessionEnded) {
		t.Errorf("it ended with %v", err)
	}
	if err := p.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)); err == nil {
		t.Error("a session that has ended takes messages")
	}
}

// What a modern server wants in headers is sent: the method, the name, and the arguments that a tool's schema names.
func TestAttachMirrorsIntoHeaders(t *testing.T) {
	s := newSite(t, "modern")
	s.mcp.AddTool(&mcp.Tool{Name: "räume", InputSchema: json.RawMessage(`{"type":"object","properties":{
		"region":{"type":"string","x-mcp-header":"Region"},"deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}`)},
		func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{}, nil
		})
	h, err := StartHTTP(within(t), s.URL, withKey())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	eventually(t, "the schemas are known", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.rules) > 0 })
	p, err := modernHTTP{h}.Single(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for len(s.seen) > 0 {
		<-s.seen
	}
	if err := p.Write(within(t), bare(9007199254740993, "tools/call", servers.Modern, `{"name":"räume","arguments":{"region":"Zürich ","deep":{"n":7},"other":1}}`)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, p); !strings.Contains(got, `"result"`) {
		t.Errorf("the answer: %s", got)
	}
	for {
		sent := <-s.seen
		if sent.Get(headerName) == "" {
			continue // of the bridge's own
		}
		if sent.Get(headerMethod) != "tools/call" || sent.Get(headerName) != "=?base64?csOkdW1l?=" || sent.Get(headerParam+"Region") != "=?base64?WsO8cmljaCA=?=" ||
			sent.Get(headerParam+"N") != "7" || sent.Get(headerVersion) != servers.ModernVersion {
			t.Errorf("the headers: %v", sent)
		}
		break
	}
}

func TestHeaderValue(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "a b": "a b", "": "", " x": "=?base64?IHg=?=", "ü": "=?base64?w7w=?=", "a\nb": "=?base64?YQpi?=", "=?base64?x?=": "=?base64?PT9iYXNlNjQ/eD89?=",
	} {
		if got := headerValue(text); got != want {
			t.Errorf("%q is written %q, want %q", text, got, want)
		}
	}
}
