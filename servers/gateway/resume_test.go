package gateway_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
)

// post makes one HTTP request of a legacy session by hand.
func post(t *testing.T, method, url, session, event, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(bustest.Context(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Mcp-Session-Id": session, "Mcp-Protocol-Version": legacy, "Last-Event-Id": event} {
		if value != "" {
			req.Header.Set(key, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// lines reads a body line by line.
func lines(resp *http.Response) func() string {
	r := bufio.NewReader(resp.Body)
	return func() string {
		line, err := r.ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return strings.TrimSuffix(line, "\n")
	}
}

// TestResumeByHand follows one call from a gateway that is closed to another, event by event.
func TestResumeByHand(t *testing.T) {
	p := newPlace(t)
	probe := newProbe()
	p.serve(t, "probe", probe.Server)
	one, two := p.gateway(t, nil), p.gateway(t, nil)
	opened := post(t, "POST", one.url("probe"), "", "", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	session := opened.Header.Get("Mcp-Session-Id")
	if opened.StatusCode != 200 || session == "" {
		t.Fatalf("%s, session %q", opened.Status, session)
	}
	if r := post(t, "POST", two.url("probe"), session, "", `{"jsonrpc":"2.0","method":"notifications/initialized"}`); r.StatusCode != 202 {
		t.Fatal(r.Status)
	}
	resp := post(t, "POST", one.url("probe"), session, "", `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"hang","x":1.50}}`)
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%s %s", resp.Status, got)
	}
	next := lines(resp)
	event, ok := strings.CutPrefix(next(), "id: ")
	if retry, data := next(), next(); !ok || retry != "retry: 1000" || data != "data: " {
		t.Fatalf("the first event is %q, %q, %q", event, retry, data)
	}
	one.close()
	probe.release <- struct{}{}
	for range 2 { // it can be had as often as the client asks
		next = lines(post(t, "GET", two.url("probe"), session, event, ""))
		kind, id, data := next(), next(), next()
		if kind != "event: message" || !strings.HasPrefix(id, "id: ") || !strings.Contains(data, `"id":9007199254740993`) || !strings.Contains(data, "released") {
			t.Errorf("after %s come %q, %q, %q", event, kind, id, data)
		}
		if empty, end := next(), next(); empty != "" || end != "EOF" {
			t.Errorf("after the answer comes %q", end)
		}
	}
	for what, want := range map[string]int{"r99-1": 400, "d-999": 400, "x": 400, "r1-1~": 400} {
		if r := post(t, "GET", two.url("probe"), session, what, ""); r.StatusCode != want {
			t.Errorf("after %s: %s, want %d", what, r.Status, want)
		}
	}
	if r := post(t, "DELETE", two.url("probe"), session, "", ""); r.StatusCode != 204 {
		t.Errorf("DELETE: %s", r.Status)
	}
	for _, r := range []*http.Response{
		post(t, "GET", two.url("probe"), session, event, ""), post(t, "GET", two.url("probe"), session, "", ""), post(t, "DELETE", two.url("probe"), session, "", ""),
		post(t, "POST", two.url("probe"), session, "", `{"jsonrpc":"2.0","id":1,"method":"ping"}`),
		post(t, "POST", two.url("probe"), session, "", `{"jsonrpc":"2.0","method":"notifications/initialized"}`),
	} {
		if r.StatusCode != 404 {
			t.Errorf("%s after the end: %s", r.Request.Method, r.Status)
		}
	}
}
