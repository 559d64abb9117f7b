package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

func backends() map[string]func(*fake) wire.Backend {
	return map[string]func(*fake) wire.Backend{
		"shared": func(f *fake) wire.Backend { return f },
		"single": func(f *fake) wire.Backend { return single{f} },
	}
}

func TestRequestsWithoutSession(t *testing.T) {
	for name, backend := range backends() {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			s.serve(t, wire.ServeOptions{Name: "team-a.weather", Instance: "I1", Lease: "L1", Groups: []string{"tools"}}, backend(&fake{handle: echo}))
			for _, to := range []wire.Target{{Name: "team-a.weather"}, {Group: "tools"}, {Name: "team-a.weather", Instance: "I1"}} {
				p := s.dial(t, to)
				for _, id := range []string{`1`, `"1"`, `9007199254740993`, `-0.5e3`, `"a\u00e9\"\\"`} {
					say(t, p, `{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"x.y","n":9007199254740993,"_meta":{"progressToken":%s}},"unknown":{"a":[1.50]}}`, id, id)
					m := hear(t, p)
					if string(m.ID) != id {
						t.Errorf("to %v: id %s came back as %s", to, id, m.ID)
					}
					if seen := saw(t, m); !strings.Contains(seen.raw, `"n":9007199254740993`) || !strings.HasSuffix(seen.raw, `"unknown":{"a":[1.50]}}`) {
						t.Errorf("the server saw %s", seen.raw)
					}
				}
			}
		})
	}
}

func TestProgressAndCancellation(t *testing.T) {
	for name, backend := range backends() {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			cancelled := make(chan string, 10)
			var ids sync.Map
			f := &fake{handle: func(say wire.Pipe, n int, m message) {
				var p struct {
					RequestID json.RawMessage                         `json:"requestId"`
					Meta      struct{ ProgressToken json.RawMessage } `json:"_meta"`
				}
				_ = json.Unmarshal(m.Params, &p)
				switch m.Method {
				case "wait":
					ids.Store(string(m.ID), m.raw)
					write(say, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`, p.Meta.ProgressToken)
				case "notifications/cancelled":
					raw, _ := ids.Load(string(p.RequestID))
					cancelled <- fmt.Sprint(raw)
				}
			}}
			s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, backend(f))
			// Two callers with the same id and token: each hears of its own.
			for i := range 2 {
				p := s.dial(t, wire.Target{Name: "w"})
				say(t, p, `{"jsonrpc":"2.0","id":7,"method":"wait","params":{"who":%d,"_meta":{"progressToken":"t"}}}`, i)
				if m := hear(t, p); m.Method != "notifications/progress" || !strings.Contains(m.raw, `"progressToken":"t"`) {
					t.Errorf("heard %s", m.raw)
				}
				say(t, p, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"enough"}}`)
				if got := <-cancelled; !strings.Contains(got, fmt.Sprintf(`"who":%d`, i)) {
					t.Errorf("caller %d cancelled %s", i, got)
				}
				say(t, p, `{"jsonrpc":"2.0","id":7,"method":"wait","params":{"_meta":{"progressToken":1}}}`) // the id is free again
				if m := hear(t, p); !strings.Contains(m.raw, `"progressToken":1`) {
					t.Errorf("heard %s", m.raw)
				}
			}
		})
	}
}

func TestReceiverProvesThatSubjectHeadersAndBodyAgree(t *testing.T) {
	s := newStage(t, nil)
	var reached atomic.Int32
	f := &fake{handle: func(say wire.Pipe, n int, m message) { reached.Add(1); echo(say, n, m) }}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", Token: "5", Groups: []string{"tools"}}, f)
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}`
	for name, c := range map[string]struct {
		subject, body string
		header        nats.Header
		want          error
	}{
		"another target":        {"mcp.v1.default.rq.tools/call.safe.w", call, nil, wire.ErrRefused},
		"no target":             {"mcp.v1.default.rq.tools/call._.w", call, nil, wire.ErrRefused},
		"another method":        {"mcp.v1.default.rq.tools/list.echo.w", call, nil, wire.ErrRefused},
		"name given twice":      {"mcp.v1.default.rq.tools/call.echo.w", `{"id":1,"method":"tools/call","params":{"name":"echo","name":"rm"}}`, nil, wire.ErrRefused},
		"name in capitals":      {"mcp.v1.default.rq.tools/call._.w", `{"id":1,"method":"tools/call","params":{"NAME":"rm"}}`, nil, wire.ErrRefused},
		"another name":          {"mcp.v1.default.in.I1._.tools/call.echo.v", call, nil, wire.ErrRefused},
		"needless escape":       {"mcp.v1.default.rq.tools/call.%65cho.w", call, nil, wire.ErrRefused},
		"method header":         {"mcp.v1.default.rq.tools/call.echo.w", call, nats.Header{"Mcp-Method": {"tools/list"}}, wire.ErrRefused},
		"name header":           {"mcp.v1.default.rq.tools/call.echo.w", call, nats.Header{"Mcp-Name": {"safe"}}, wire.ErrRefused},
		"name header twice":     {"mcp.v1.default.rq.tools/call.echo.w", call, nats.Header{"Mcp-Name": {"echo", "safe"}}, wire.ErrRefused},
		"version of the wire":   {"mcp.v1.default.rq.tools/call.echo.w", call, nats.Header{"Mcp-Wire": {"2"}}, wire.ErrRefused},
		"token of another":      {"mcp.v1.default.rq.tools/call.echo.w", call, nats.Header{"Mcp-Token": {"4"}}, wire.ErrToken},
		"session made up":       {"mcp.v1.default.in.I1.abc.tools/call.echo.w", call, nil, wire.ErrNoSession},
		"initialize, no client": {"mcp.v1.default.rq.initialize._.w", `{"id":1,"method":"initialize","params":{}}`, nil, wire.ErrRefused},
		"protocol version": {"mcp.v1.default.rq.x._.w", `{"id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
			nats.Header{"Mcp-Protocol-Version": {"2025-11-25"}}, wire.ErrRefused},
	} {
		m, err := s.client.NATS().RequestMsg(&nats.Msg{Subject: c.subject, Data: []byte(c.body), Header: c.header}, bustest.Deadline)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		answer := parse(m.Data)
		if answer.Error == nil || !strings.Contains(answer.Error.Message, "") || string(answer.ID) != "1" {
			t.Errorf("%s: %s", name, m.Data)
		}
		wantError(t, answer, c.want)
	}
	if reached.Load() != 0 {
		t.Errorf("%d of them reached the server", reached.Load())
	}
	// What agrees passes, with all headers or none (a bare nats req), typed over several lines too.
	for _, header := range []nats.Header{nil, {"Mcp-Method": {"tools/call"}, "Mcp-Name": {"echo"}, "Mcp-Token": {"5"}}} {
		m, err := s.client.NATS().RequestMsg(&nats.Msg{Subject: "mcp.v1.default.rq.tools/call.echo.w", Data: []byte(strings.ReplaceAll(call, ",", ",\n")), Header: header}, bustest.Deadline)
		if err != nil {
			t.Fatal(err)
		}
		if seen := saw(t, parse(m.Data)); strings.Contains(seen.raw, "\n") || m.Header.Get("Mcp-Wire") != "1" {
			t.Errorf("%q, headers %v", seen.raw, m.Header)
		}
	}
}

func TestHostileMethodsAndTargets(t *testing.T) {
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: echo})
	p := s.dial(t, wire.Target{Name: "w"})
	for _, text := range []string{">", "*", "a.b.>", " ", "\x00\r\n", "_", "%5F", "%~", "größe", strings.Repeat("x", 10_000), strings.Repeat(".", 600)} {
		quoted, _ := json.Marshal(text)
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":%s}`, quoted)
		if m := hear(t, p); saw(t, m).Method != text {
			t.Errorf("method %.20q: %.200s", text, m.raw)
		}
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%s}}`, quoted)
		var params struct{ Name string }
		if m := hear(t, p); json.Unmarshal(saw(t, m).Params, &params) != nil || params.Name != text {
			t.Errorf("target %.20q: %.200s", text, m.raw)
		}
	}
}

func TestThousandConcurrentCalls(t *testing.T) {
	for name, backend := range backends() {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, backend(&fake{handle: echo}))
			p, q := s.dial(t, wire.Target{Name: "w"}), s.dial(t, wire.Target{Name: "w"})
			for i := range 500 {
				say(t, p, `{"jsonrpc":"2.0","id":%d,"method":"m","params":{"p":%d}}`, i, i)
				say(t, q, `{"jsonrpc":"2.0","id":%d,"method":"m","params":{"q":%d}}`, i, i)
			}
			for who, pipe := range map[string]wire.Pipe{"p": p, "q": q} {
				got := map[string]bool{}
				for range 500 {
					m := hear(t, pipe)
					if want := fmt.Sprintf(`{"%s":%s}`, who, m.ID); string(saw(t, m).Params) != want {
						t.Fatalf("%s heard %s", who, m.raw)
					}
					got[string(m.ID)] = true
				}
				if len(got) != 500 {
					t.Errorf("%d different answers", len(got))
				}
			}
		})
	}
}

func TestValidityIsAskedWhenARequestLeavesTheQueue(t *testing.T) {
	s := newStage(t, nil)
	var valid atomic.Bool
	valid.Store(true)
	gate := make(chan struct{})
	f := &fake{handle: func(say wire.Pipe, n int, m message) { <-gate; echo(say, n, m) }}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", Lease: "L1", MaxInFlight: 1, Valid: valid.Load}, f)
	p := s.dial(t, wire.Target{Name: "w"})
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
	bustest.Eventually(t, "the first request is with the server", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.opened == 1 })
	say(t, p, `{"jsonrpc":"2.0","id":2,"method":"m"}`)
	valid.Store(false)
	close(gate)
	if m := hear(t, p); string(m.ID) != "1" || m.Result == nil {
		t.Errorf("the one that had left the queue: %s", m.raw)
	}
	facts := wantError(t, hear(t, p), wire.ErrNotValid)
	if facts.Instance != "I1" || facts.Lease != "L1" || facts.Executed != "no" {
		t.Errorf("facts %+v", facts)
	}
	valid.Store(true)
	say(t, p, `{"jsonrpc":"2.0","id":3,"method":"m"}`)
	if m := hear(t, p); m.Result == nil {
		t.Errorf("valid again: %s", m.raw)
	}
}

func TestGroupsChangeWhileServing(t *testing.T) {
	s := newStage(t, nil)
	serving := s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: echo})
	p := s.dial(t, wire.Target{Group: "g"})
	ask := func() message {
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
		return hear(t, p)
	}
	wantError(t, ask(), wire.ErrNoResponders)
	if err := serving.Join("g"); err != nil {
		t.Fatal(err)
	}
	bustest.Eventually(t, "the group answers", func() bool { return ask().Result != nil })
	serving.Leave("g")
	bustest.Eventually(t, "the group is empty", func() bool { return ask().Error != nil })
}

func TestFirstFrameComesInTime(t *testing.T) {
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", Lease: "L1"}, &fake{handle: func(wire.Pipe, int, message) {}})
	nc := s.client.NATS()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := nc.PublishMsg(&nats.Msg{Subject: "mcp.v1.default.rq.m._.w", Reply: inbox, Data: []byte(`{"id":1,"method":"m"}`), Header: nats.Header{"Mcp-Wire": {"1"}}}); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(bustest.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	if h := m.Header; h.Get("Mcp-Frame") != "ack" || h.Get("Mcp-Instance") != "I1" || h.Get("Mcp-Lease") != "L1" || h.Get("Mcp-Seq") != "1" || h.Get("Mcp-Server") != "w" {
		t.Errorf("first frame %v", h)
	}
	if took := time.Since(start); took < 50*time.Millisecond || took > 3*time.Second {
		t.Errorf("it came after %v", took)
	}
}
