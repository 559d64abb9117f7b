//go:build unix

package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/toolbus/toolbus/servers"
)

// hand is a legacy HTTP server by hand. step answers a request that is no handshake.
func hand(t testing.TB, step func(w http.ResponseWriter, r *http.Request, method, id string)) *HTTP {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &m)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case m.Method == "server/discover":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
		case m.Method == "initialize":
			w.Header().Set("Mcp-Session-Id", "s1")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"hand"}}}`, m.ID)
		case strings.HasPrefix(m.Method, "notifications/"):
			w.WriteHeader(http.StatusAccepted)
		default:
			step(w, r, m.Method, string(m.ID))
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	h, err := StartHTTP(within(t), server.URL, &HTTPOptions{Health: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(within(t)) })
	return h
}

// open is a client's session, after the handshake.
func (h *HTTP) open(t testing.TB) talker {
	t.Helper()
	p, info, err := h.handshake(within(t))
	if err != nil || info.Version != "2025-06-18" {
		t.Fatalf("%+v, %v", info, err)
	}
	return p
}

// A stream that breaks before the answer is read on behind the last event, and each event comes once.
func TestBrokenStreamIsResumed(t *testing.T) {
	var mu sync.Mutex
	var last []string
	h := hand(t, func(w http.ResponseWriter, r *http.Request, method, id string) {
		if r.Header.Get("Mcp-Session-Id") != "s1" || r.Header.Get("Mcp-Protocol-Version") != "2025-06-18" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		switch from := r.Header.Get("Last-Event-ID"); {
		case method == "tools/call":
			fmt.Fprint(w, ": hello\r\n\r\nid: 1\r\nretry: 10\r\ndata:\r\n\r\n", "id: 2\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/message\",\"params\":{\"n\":1}}\n\n")
		case from == "2":
			fmt.Fprint(w, "id: 3\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"n\":2}}\n\nid: 4\ndata: {\"torn")
		case from == "3":
			fmt.Fprint(w, "event: message\nid: 5\ndata: {\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"result\":{\"unknown\":1.50}}\n\n")
		case r.Method == http.MethodGet && from == "":
			w.WriteHeader(http.StatusMethodNotAllowed) // it has no stream of its own
			return
		default: // the end of a session
			return
		}
		mu.Lock()
		last = append(last, r.Header.Get("Last-Event-ID"))
		mu.Unlock()
	})
	p := h.open(t)
	defer p.Close()
	if err := p.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"x"}}`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"n":1`, `"n":2`, `"id":9007199254740993,"result":{"unknown":1.50}`} {
		if got := read(t, p); !strings.Contains(got, want) {
			t.Errorf("read %s, want %s", got, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(last, ","); got != ",2,3" {
		t.Errorf("it was resumed from %q", got)
	}
}

// An answer that cannot be had is an error to the call that wanted it, and to that one alone.
func TestLostAnswerIsAnError(t *testing.T) {
	h := hand(t, func(w http.ResponseWriter, r *http.Request, method, id string) {
		switch {
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case strings.HasPrefix(method, "cut"):
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n")
		case method == "huge":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+id+`,"result":"`+strings.Repeat("x", 8<<20)+`"}`)
		case method == "fails":
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "disk full")
		case method == "batch":
			fmt.Fprintf(w, `[{"jsonrpc":"2.0","method":"notifications/message"},{"jsonrpc":"2.0","id":%s,"result":{}}]`, id)
		}
	})
	p := h.open(t)
	defer p.Close()
	ask := func(method string) string {
		t.Helper()
		if err := p.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":"1","method":"`+method+`"}`)); err != nil {
			t.Fatal(err)
		}
		for {
			if got := read(t, p); strings.Contains(got, `"id":"1"`) {
				return got
			}
		}
	}
	for method, want := range map[string]string{
		"cut": "ended the answer before it was there", "fails": "answered 500: disk full", "batch": `"result":{}`, "nothing": "ended the answer before",
	} {
		if got := ask(method); !strings.Contains(got, want) {
			t.Errorf("%s: %s", method, got)
		}
	}
	if got := ask("huge"); len(got) < 8<<20 || !strings.HasSuffix(got, `xx"}`) {
		t.Errorf("8 MiB: %d bytes, %.100s", len(got), got)
	}
	if err := p.Err(); err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

// A stream of events is read as the specification of such streams says.
func TestReadEvents(t *testing.T) {
	for text, want := range map[string]string{
		"data: a\n\n": "[a||]", "data:a\ndata: b\n\n": "[a\nb||]", "event: x\r\nid: 7\r\ndata: a\r\n\r\n": "[a|x|7]", ": c\n\n": "", "data: torn": "",
		"data\n\ndata: z\n\n": "[||][z||]", "id: 1\n\n": "[||1]", "other: 1\ndata:  two\n\n": "[ two||]",
	} {
		var got strings.Builder
		if err := readEvents(strings.NewReader(text), 100, func(e event) { fmt.Fprintf(&got, "[%s|%s|%s]", e.data, e.name, e.id) }); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if got.String() != want {
			t.Errorf("%q is read as %q, want %q", text, got.String(), want)
		}
	}
	long := "data: " + strings.Repeat("x", 200) + "\n\n"
	if err := readEvents(strings.NewReader(long), 100, func(event) {}); err != errEventTooLong {
		t.Errorf("one that is too long: %v", err)
	}
}

// The old transport's address for messages may not lead to another host: the headers would go there.
func TestOldEndpointStaysHome(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: endpoint\ndata: http://evil.example/take\n\n")
	}))
	defer server.Close()
	_, err := StartHTTP(within(t), server.URL, nil)
	if err == nil {
		t.Fatal("it started")
	}
	h := &HTTP{url: mustParse(t, server.URL), opts: (&HTTPOptions{}).withDefaults(), client: server.Client(), pipes: nil}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	defer h.cancel()
	p := newOldSession(h, func() {})
	err = p.Write(within(t), bare(1, "ping", servers.Legacy, "{}"))
	if err == nil || !strings.Contains(err.Error(), "another address") {
		t.Errorf("write: %v", err)
	}
}

func mustParse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
