package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// next waits for the next event of a stream that is no comment; false at its end.
func next(t *testing.T, from <-chan [2]string) (e [2]string, ok bool) {
	t.Helper()
	for {
		if e, ok = line(t, from); !strings.HasPrefix(e[1], ":") {
			return e, ok
		}
	}
}

func line(t *testing.T, from <-chan [2]string) (e [2]string, ok bool) {
	t.Helper()
	select {
	case e, ok = <-from:
		return e, ok
	case <-time.After(patience):
		t.Fatal("no event")
		return e, false
	}
}

// slow lets the fake server say one notification, and answer once it is told to.
func slow(s *site) (answer chan<- bool) {
	told := make(chan bool)
	s.bus.answer = func(ctx context.Context, m wire.Message) []string {
		select {
		case <-told:
			return []string{`{"jsonrpc":"2.0","method":"notifications/progress"}`, string(echo(ctx, m)[0])}
		case <-ctx.Done():
			return nil
		}
	}
	return told
}

func TestLegacyStream(t *testing.T) {
	s := newSite(t, &Options{Retry: 250 * time.Millisecond})
	session := s.open(t)
	answer := slow(s)
	resp := s.ask(t, "POST", "/s/weather/mcp", pingLegacy, session, "Mcp-Protocol-Version: 2025-11-25")
	for key, want := range map[string]string{"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Cache-Control": "no-cache, no-transform"} {
		if got := resp.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	from := events(resp)
	if e, _ := next(t, from); e != [2]string{"r1:0", ""} {
		t.Errorf("the first event is %q, want one without data to go on from", e)
	}
	resp.Body.Close() // the client's connection breaks
	answer <- true

	again := s.ask(t, "GET", "/s/weather/mcp", "", session, "Mcp-Protocol-Version: 2025-11-25", "Last-Event-Id: r1:1")
	from = events(again)
	e, _ := next(t, from)
	if e[0] != "r1:2" || !strings.Contains(e[1], `"method":"ping"`) {
		t.Errorf("after event 1 comes %q, want the answer", e)
	}
	if e, ok := next(t, from); ok {
		t.Errorf("after the answer comes %q", e)
	}
	if s.bus.cancelled != 0 {
		t.Error("the request was cancelled with its connection")
	}
}

func TestStreamForWhoNamesItFirst(t *testing.T) {
	s := newSite(t, nil)
	session := s.open(t)
	const first = "Accept: text/event-stream, application/json"
	resp := s.ask(t, "POST", "/s/weather/mcp", pingLegacy, session, "Mcp-Protocol-Version: 2025-11-25", "Accept:", first)
	from := events(resp)
	for _, want := range []string{"r1:0", "r1:1"} {
		if e, _ := next(t, from); e[0] != want || (e[1] == "") != (want == "r1:0") {
			t.Errorf("event %q, want %s", e, want)
		}
	}
	resp = s.ask(t, "POST", "/s/weather/mcp", listModern, "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list", "Accept:", first)
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("modern: %s", got)
	}
}

func TestOlderClientsGetNoEventWithoutData(t *testing.T) {
	s := newSite(t, nil)
	session := s.open(t)
	answer := slow(s)
	resp := s.ask(t, "POST", "/s/weather/mcp", pingLegacy, session, "Mcp-Protocol-Version: 2025-06-18")
	answer <- true
	if e, _ := next(t, events(resp)); e[0] != "r1:1" || e[1] == "" {
		t.Errorf("the first event is %q", e)
	}
}

func TestModernStreamIsCancelledWithItsConnection(t *testing.T) {
	s := newSite(t, nil)
	slow(s)
	resp := s.ask(t, "POST", "/s/weather/mcp", listModern, "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list")
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("%s, %s", resp.Status, got)
	}
	resp.Body.Close()
	until(t, "the call is cancelled", func() bool { s.bus.mu.Lock(); defer s.bus.mu.Unlock(); return s.bus.cancelled == 1 })
}

func TestModernEventsHaveNoID(t *testing.T) {
	s := newSite(t, nil)
	answer := slow(s)
	resp := s.ask(t, "POST", "/s/weather/mcp", listModern, "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list")
	answer <- true
	if body := text(t, resp); strings.Contains(body, "id:") || strings.Count(body, "data: ") != 2 {
		t.Errorf("got %s", body)
	}
}

func TestModernErrorsHaveTheirStatus(t *testing.T) {
	s := newSite(t, nil)
	for code, want := range map[int]int{-32601: 404, -32602: 400, -32022: 400, -32021: 400, -32020: 400, -32603: 200, -32002: 200, 7: 200,
		wire.CodeBusy: 503, wire.CodeNotValid: 503, wire.CodeNoResponders: 503, wire.CodeEnded: 200, wire.CodeRefused: 400} {
		s.bus.answer = func(_ context.Context, m wire.Message) []string {
			return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"no"}}`, m.ID(), code)}
		}
		resp := s.ask(t, "POST", "/s/weather/mcp", listModern, "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list")
		if resp.StatusCode != want || !strings.Contains(text(t, resp), fmt.Sprint(code)) {
			t.Errorf("error %d: %s, want %d", code, resp.Status, want)
		}
	}
}

func TestSessionThatEndedMeanwhileIs404(t *testing.T) {
	s := newSite(t, nil)
	session := s.open(t)
	s.bus.answer = func(_ context.Context, m wire.Message) []string {
		return []string{string(wire.NewError(wire.CodeNoSession, "no such session", wire.Facts{}).Response(m.ID()))}
	}
	if resp := s.ask(t, "POST", "/s/weather/mcp", pingLegacy, session); resp.StatusCode != 404 {
		t.Errorf("got %s", resp.Status)
	}
}

func TestListeningAndItsSignsOfLife(t *testing.T) {
	s := newSite(t, &Options{KeepAlive: 20 * time.Millisecond})
	session := s.open(t)
	from := events(s.ask(t, "GET", "/s/weather/mcp", "", session, "Mcp-Protocol-Version: 2025-06-18"))
	for _, want := range []string{": wait", ": still here", ": still here"} {
		if e, _ := line(t, from); e[1] != want {
			t.Fatalf("got %q, want %q", e, want)
		}
	}
	s.bus.mu.Lock()
	down := s.bus.sessions["instance.s0"].down
	s.bus.mu.Unlock()
	down.put(event{msg: []byte("{\"jsonrpc\":\"2.0\",\n\"method\":\"notifications/x\"}")})
	if e, _ := next(t, from); e != [2]string{"d:1", `{"jsonrpc":"2.0", "method":"notifications/x"}`} {
		t.Errorf("got %q", e)
	}
}

func TestBatchGoesOnWhereItBroke(t *testing.T) {
	s := newSite(t, nil)
	session := s.open(t)
	told := map[string]chan bool{"2": make(chan bool), "3": make(chan bool)}
	s.bus.answer = func(ctx context.Context, m wire.Message) []string {
		<-told[string(m.ID())]
		return echo(ctx, m)
	}
	resp := s.ask(t, "POST", "/s/weather/mcp", "["+pingLegacy+","+strings.Replace(pingLegacy, "2,", "3,", 1)+"]", session)
	from := events(resp)
	told["3"] <- true
	e, _ := next(t, from)
	if e[0] != "r1:0~r2:1" || !strings.Contains(e[1], `"id":3`) {
		t.Fatalf("the first answer is %q", e)
	}
	resp.Body.Close()
	told["2"] <- true
	if e, _ = next(t, events(s.ask(t, "GET", "/s/weather/mcp", "", session, "Last-Event-Id: r1:0~r2:0"))); e[1] == "" {
		t.Errorf("after the beginning comes %q", e)
	}
	from = events(s.ask(t, "GET", "/s/weather/mcp", "", session, "Last-Event-Id: r1:0~r2:1"))
	if e, _ = next(t, from); e[0] != "r1:1~r2:1" || !strings.Contains(e[1], `"id":2`) {
		t.Errorf("after the first answer comes %q", e)
	}
}

func TestCloseEndsStreams(t *testing.T) {
	s := newSite(t, nil)
	session := s.open(t)
	resp := s.ask(t, "GET", "/s/weather/mcp", "", session)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if body := text(t, resp); !strings.HasPrefix(body, ": wait") {
		t.Errorf("got %q", body)
	}
	if resp := s.ask(t, "POST", "/s/weather/mcp", initLegacy); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after Close: %s", resp.Status)
	}
}

// A client that takes nothing any more is cut off, and its request with it.
func TestStalledClientIsCutOff(t *testing.T) {
	s := newSite(t, &Options{Stall: 100 * time.Millisecond})
	s.bus.answer = func(_ context.Context, m wire.Message) []string {
		return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%q}`, m.ID(), strings.Repeat("x", 32<<20))}
	}
	resp := s.ask(t, "POST", "/s/weather/mcp", listModern, "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list")
	done := make(chan error, 1)
	go func() { s.active.Wait(); done <- nil }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the request goes on although its client takes nothing")
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("the whole answer came, %d bytes", n)
	}
}

// An answer that comes at once is a stream too for a client that names streams first.
func TestStreamForWhoPrefersOne(t *testing.T) {
	s := newSite(t, nil)
	session := s.open(t)
	for accept, want := range map[string]string{"text/event-stream, application/json": "text/event-stream", "application/json, text/event-stream": "application/json"} {
		resp := s.ask(t, "POST", "/s/weather/mcp", pingLegacy, session, "Mcp-Protocol-Version: 2025-11-25", "Accept:", "Accept: "+accept)
		if got := resp.Header.Get("Content-Type"); got != want {
			t.Errorf("who accepts %s gets %s", accept, got)
		}
	}
}
