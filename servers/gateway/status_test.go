package gateway

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func tick() <-chan time.Time { return time.After(5 * time.Millisecond) }

const (
	metaModern = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	listModern = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + metaModern + `}}`
	initLegacy = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	pingLegacy = `{"jsonrpc":"2.0","id":2,"method":"ping"}`
	both       = "application/json, text/event-stream"
)

// site is a gateway before a fake bus, behind a real HTTP server.
type site struct {
	*Gateway
	bus *fakeBus
	url string
}

func newSite(t *testing.T, opts *Options) *site {
	t.Helper()
	bus := newFakeBus()
	g := newGateway(bus, opts)
	server := httptest.NewServer(g)
	t.Cleanup(func() {
		server.CloseClientConnections()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return &site{g, bus, server.URL}
}

// ask makes one HTTP request. head is lines of "Key: value"; Host is understood; a key without a value takes the header out.
func (s *site) ask(t *testing.T, method, path, body string, head ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", both)
	for _, line := range head {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case key == "Host":
			req.Host = value
		case value == "":
			req.Header.Del(key)
		default:
			req.Header.Add(key, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// open opens a legacy session and returns the header that names it.
func (s *site) open(t *testing.T) string {
	t.Helper()
	resp := s.ask(t, "POST", "/s/weather/mcp", initLegacy)
	id := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != 200 || id == "" {
		t.Fatalf("initialize: %s, session %q", resp.Status, id)
	}
	return "Mcp-Session-Id: " + id
}

func TestStatus(t *testing.T) {
	s := newSite(t, &Options{MaxBody: 4096})
	session := s.open(t)
	const modern, list, newest = "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list", "Mcp-Protocol-Version: 2025-11-25"
	read := `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///ä",` + metaModern + `}}`
	notice := `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	for _, c := range []struct {
		name, method, path, body string
		head                     []string
		want                     int
		says                     string
	}{
		{"modern", "POST", "/s/weather/mcp", listModern, []string{modern, list}, 200, `"method":"tools/list"`},
		{"name in upper case", "POST", "/s/Weather/mcp", listModern, []string{modern, list}, 200, ""},
		{"media type with parameter", "POST", "/s/weather/mcp", listModern, []string{modern, list, "Content-Type:", "Content-Type: application/json; charset=utf-8"}, 200, ""},
		{"no Accept", "POST", "/s/weather/mcp", listModern, []string{modern, list, "Accept:"}, 200, ""},
		{"any Accept", "POST", "/s/weather/mcp", listModern, []string{modern, list, "Accept:", "Accept: */*;q=0.8"}, 200, ""},

		{"all", "POST", "/mcp", listModern, []string{modern, list}, 200, ""},
		{"a group", "POST", "/g/Some/mcp", listModern, []string{modern, list}, 200, ""},
		{"unknown group", "POST", "/g/none/mcp", listModern, []string{modern, list}, 404, `"code":1012`},
		{"unknown group, legacy", "POST", "/g/none/mcp", initLegacy, nil, 404, `"code":1012`},
		{"session of another endpoint", "POST", "/mcp", pingLegacy, []string{session}, 404, "initialize again"},
		{"unknown path", "POST", "/", listModern, []string{modern, list}, 404, "/s/NAME/mcp"},
		{"path too long", "POST", "/s/weather/mcp/x", listModern, []string{modern, list}, 404, ""},
		{"bad name", "POST", "/s/we_ather/mcp", listModern, []string{modern, list}, 404, "name"},
		{"unknown name", "POST", "/s/nobody/mcp", listModern, []string{modern, list}, 404, `"code":1012`},
		{"unknown name, legacy", "POST", "/s/nobody/mcp", initLegacy, nil, 404, `"code":1012`},
		{"no such method", "PUT", "/s/weather/mcp", listModern, []string{modern, list}, 405, ""},
		{"form", "POST", "/s/weather/mcp", listModern, []string{"Content-Type:", "Content-Type: text/plain"}, 415, ""},
		{"no media type", "POST", "/s/weather/mcp", listModern, []string{"Content-Type:"}, 415, ""},
		{"JSON only", "POST", "/s/weather/mcp", listModern, []string{modern, list, "Accept:", "Accept: application/json"}, 406, ""},
		{"too large", "POST", "/s/weather/mcp", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 5000) + `"}`, nil, 413, `"code":1004`},
		{"no JSON", "POST", "/s/weather/mcp", `{"jsonrpc":`, nil, 400, "-32700"},
		{"empty", "POST", "/s/weather/mcp", ` `, nil, 400, "-32700"},
		{"nothing in it", "POST", "/s/weather/mcp", `{"jsonrpc":"2.0","id":1}`, nil, 400, "-32600"},

		{"version header missing", "POST", "/s/weather/mcp", listModern, []string{list}, 400, "-32020"},
		{"version in header and not in body", "POST", "/s/weather/mcp", `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, []string{modern, list}, 400, `"id":7,"error":{"code":-32602`},
		{"two versions", "POST", "/s/weather/mcp", listModern, []string{"Mcp-Protocol-Version: 2027-01-01", list}, 400, "-32020"},
		{"method header missing", "POST", "/s/weather/mcp", listModern, []string{modern}, 400, "-32020"},
		{"another method", "POST", "/s/weather/mcp", listModern, []string{modern, "Mcp-Method: prompts/list"}, 400, "-32020"},
		{"method in another case", "POST", "/s/weather/mcp", listModern, []string{modern, "Mcp-Method: TOOLS/LIST"}, 400, "-32020"},
		{"name header missing", "POST", "/s/weather/mcp", read, []string{modern, "Mcp-Method: resources/read"}, 400, "-32020"},
		{"name header", "POST", "/s/weather/mcp", read, []string{modern, "Mcp-Method: resources/read", "Mcp-Name: =?base64?ZmlsZTovLy/DpA==?="}, 200, ""},
		{"another name", "POST", "/s/weather/mcp", read, []string{modern, "Mcp-Method: resources/read", "Mcp-Name: file:///b"}, 400, "-32020"},
		{"bad base64", "POST", "/s/weather/mcp", read, []string{modern, "Mcp-Method: resources/read", "Mcp-Name: =?base64?ZmlsZTovLy/DpA?="}, 400, "-32020"},
		{"initialize, modern", "POST", "/s/weather/mcp", strings.Replace(listModern, "tools/list", "initialize", 1), []string{modern, "Mcp-Method: initialize"}, 404, "-32601"},
		{"notification, modern", "POST", "/s/weather/mcp", `{"jsonrpc":"2.0","method":"notifications/x"}`, []string{modern, "Mcp-Method: notifications/x"}, 202, ""},
		{"response, modern", "POST", "/s/weather/mcp", `{"jsonrpc":"2.0","id":1,"result":{}}`, []string{modern}, 400, "-32600"},
		{"batch, modern", "POST", "/s/weather/mcp", "[" + listModern + "]", []string{modern, list}, 400, ""},
		{"GET, modern", "GET", "/s/weather/mcp", "", []string{modern, session}, 405, ""},
		{"DELETE, modern", "DELETE", "/s/weather/mcp", "", []string{modern, session}, 405, ""},
		{"discover without a version", "POST", "/s/weather/mcp", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, nil, 400, "-32020"},

		{"legacy", "POST", "/s/weather/mcp", pingLegacy, []string{newest, session}, 200, `"method":"ping"`},
		{"legacy without a version", "POST", "/s/weather/mcp", pingLegacy, []string{session}, 200, ""},
		{"notification", "POST", "/s/weather/mcp", notice, []string{newest, session}, 202, ""},
		{"response", "POST", "/s/weather/mcp", `{"jsonrpc":"2.0","id":1,"result":{}}`, []string{newest, session}, 202, ""},
		{"no session", "POST", "/s/weather/mcp", pingLegacy, []string{newest}, 400, "Mcp-Session-Id"},
		{"unknown session", "POST", "/s/weather/mcp", pingLegacy, []string{newest, "Mcp-Session-Id: instance.other"}, 404, "initialize again"},
		{"unknown version", "POST", "/s/weather/mcp", pingLegacy, []string{"Mcp-Protocol-Version: 2025-01-01", session}, 400, ""},
		{"initialize twice", "POST", "/s/weather/mcp", initLegacy, []string{session}, 400, ""},
		{"GET without a session", "GET", "/s/weather/mcp", "", []string{newest}, 400, ""},
		{"GET of an unknown session", "GET", "/s/weather/mcp", "", []string{newest, "Mcp-Session-Id: instance.other"}, 404, ""},
		{"GET of JSON", "GET", "/s/weather/mcp", "", []string{newest, session, "Accept:", "Accept: application/json"}, 406, ""},
		{"GET of an unknown version", "GET", "/s/weather/mcp", "", []string{"Mcp-Protocol-Version: 1", session}, 400, ""},
		{"GET after an unknown event", "GET", "/s/weather/mcp", "", []string{newest, session, "Last-Event-Id: nonsense"}, 400, "gone on"},
		{"DELETE without a session", "DELETE", "/s/weather/mcp", "", []string{newest}, 400, ""},

		{"batch", "POST", "/s/weather/mcp", "[" + pingLegacy + "," + notice + "]", []string{session}, 200, "event: message\nid: r"},
		{"batch of notifications", "POST", "/s/weather/mcp", " \n[" + notice + "]", []string{session}, 202, ""},
		{"batch of a newer version", "POST", "/s/weather/mcp", "[" + pingLegacy + "]", []string{newest, session}, 400, "-32600"},
		{"empty batch", "POST", "/s/weather/mcp", "[]", []string{session}, 400, "-32600"},
		{"batch with an initialize", "POST", "/s/weather/mcp", "[" + initLegacy + "]", []string{session}, 400, "-32600"},
		{"batch with nonsense", "POST", "/s/weather/mcp", "[1]", []string{session}, 400, "-32600"},
		{"half a batch", "POST", "/s/weather/mcp", "[", []string{session}, 400, "-32700"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := s.ask(t, c.method, c.path, c.body, c.head...)
			body := text(t, resp)
			if resp.StatusCode != c.want || !strings.Contains(body, c.says) {
				t.Errorf("%d %s\nwant %d with %q", resp.StatusCode, body, c.want, c.says)
			}
			if c.want == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestSessionEnds(t *testing.T) {
	s := newSite(t, nil)
	session := s.open(t)
	if resp := s.ask(t, "DELETE", "/s/weather/mcp", "", session); resp.StatusCode != 204 {
		t.Errorf("DELETE: %s", resp.Status)
	}
	for _, method := range []string{"POST", "GET", "DELETE"} {
		body := ""
		if method == "POST" {
			body = pingLegacy
		}
		if resp := s.ask(t, method, "/s/weather/mcp", body, session); resp.StatusCode != 404 {
			t.Errorf("%s after the end: %s", method, resp.Status)
		}
	}
}

// A session with many servers is with the gateway that opened it, and with that endpoint of it only.
func TestSessionsOfGroups(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/mcp", "/g/some/mcp"} {
		resp := s.ask(t, "POST", path, initLegacy)
		id := resp.Header.Get("Mcp-Session-Id")
		if resp.StatusCode != 200 || !strings.HasPrefix(id, "x1.instance.") {
			t.Fatalf("%s: %s, session %q", path, resp.Status, id)
		}
		for other, want := range map[string]int{path: 200, "/s/weather/mcp": 404, "/g/other/mcp": 404} {
			if resp := s.ask(t, "POST", other, pingLegacy, "Mcp-Session-Id: "+id); resp.StatusCode != want {
				t.Errorf("the session of %s at %s: %s, want %d", path, other, resp.Status, want)
			}
		}
	}
	for _, id := range []string{"x1", "x1.", ".", "*.instance.s0", "x2.instance.s0", "x1.>.s0"} {
		if resp := s.ask(t, "POST", "/mcp", pingLegacy, "Mcp-Session-Id: "+id); resp.StatusCode != 404 {
			t.Errorf("session %q: %s", id, resp.Status)
		}
	}
}

func TestHealth(t *testing.T) {
	s := newSite(t, &Options{Tokens: []string{"t"}})
	if resp := s.ask(t, "GET", "/healthz", "", "Host: 10.0.0.7:4280"); resp.StatusCode != 200 {
		t.Errorf("well: %s", resp.Status)
	}
	s.bus.ill.Store(true)
	if resp := s.ask(t, "GET", "/healthz", ""); resp.StatusCode != 503 {
		t.Errorf("without the bus: %s", resp.Status)
	}
}

func TestHostAndOrigin(t *testing.T) {
	s := newSite(t, &Options{Hosts: []string{"bus.example", "Other.example:8443", "[2001:db8::1]"}})
	head := []string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list"}
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{"", "", 200},
		{"localhost:1234", "http://localhost:5173", 200},
		{"[::1]:80", "http://[::1]", 200},
		{"127.1.2.3", "http://127.0.0.1:80", 200},
		{"bus.example", "https://bus.example:444", 200},
		{"BUS.example.", "", 200},
		{"other.example:8443", "https://other.example:8443", 200},
		{"other.example:8444", "", 403},
		{"[2001:db8::1]:80", "", 200},
		{"evil.example", "", 403},
		{"evil.example:80", "http://localhost", 403},
		{"localhost.evil.example", "", 403},
		{"127.0.0.1.evil.example", "", 403},
		{"", "http://evil.example", 403},
		{"", "http://localhost.evil.example", 403},
		{"", "null", 403},
		{"", "file://", 403},
		{"", "http://evil.example@", 403},
	} {
		lines := head
		if c.host != "" {
			lines = append(lines[:len(lines):len(lines)], "Host: "+c.host)
		}
		if c.origin != "" {
			lines = append(lines[:len(lines):len(lines)], "Origin: "+c.origin)
		}
		if resp := s.ask(t, "POST", "/s/weather/mcp", listModern, lines...); resp.StatusCode != c.want {
			t.Errorf("Host %q, Origin %q: %d, want %d", c.host, c.origin, resp.StatusCode, c.want)
		}
	}
	twice := append(head[:2:2], "Origin: http://localhost", "Origin: http://evil.example")
	if resp := s.ask(t, "POST", "/s/weather/mcp", listModern, twice...); resp.StatusCode != 403 {
		t.Errorf("two Origins: %s", resp.Status)
	}
}

func TestTokens(t *testing.T) {
	s := newSite(t, &Options{Tokens: []string{"first", "second"}})
	head := []string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list"}
	for auth, want := range map[string]int{"Bearer first": 200, "bearer second": 200, "": 401, "Bearer": 401, "Bearer firs": 401, "Basic first": 401, "Bearer first second": 401} {
		resp := s.ask(t, "POST", "/s/weather/mcp", listModern, append(head[:2:2], "Authorization: "+auth)...)
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", auth, resp.StatusCode, want)
		}
		if want == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%q: no WWW-Authenticate", auth)
		}
	}
}

// events reads a stream of events, as id and data of each; comments come as ":text".
func events(resp *http.Response) <-chan [2]string {
	out := make(chan [2]string, 100)
	go func() {
		defer close(out)
		var id, data string
		some := false
		for lines := bufio.NewReader(resp.Body); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\n")
			key, value, _ := strings.Cut(line, ": ")
			switch {
			case line == "":
				if some {
					out <- [2]string{id, data}
				}
				id, data, some = "", "", false
			case key == "" || strings.HasPrefix(line, ":"):
				out <- [2]string{"", line}
			case key == "id":
				id, some = value, true
			case key == "data":
				data, some = value, true
			}
		}
	}()
	return out
}
