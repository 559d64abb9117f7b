package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

func TestNobodyAnswersIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	for _, to := range []wire.Target{{Name: "nobody"}, {Group: "nobody"}, {Name: "nobody", Instance: "I1"}} {
		p := s.dial(t, to)
		start := time.Now()
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
		facts := wantError(t, hear(t, p), wire.ErrNoResponders)
		if facts.Executed != "no" || facts.Name+facts.Group != "nobody" {
			t.Errorf("facts %+v", facts)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("known after %v", took)
		}
	}
	p := s.dial(t, wire.Target{Name: "nobody"}) // an initialize too, and what follows it does not wait for ever
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"initialize"}`)
	wantError(t, hear(t, p), wire.ErrNoResponders)
	say(t, p, `{"jsonrpc":"2.0","id":2,"method":"m"}`)
	wantError(t, hear(t, p), wire.ErrNoResponders)
}

func TestForeignAnswerIsAnError(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	// A stream that records and acknowledges answers in place of the dead.
	stop, err := s.server.Subscribe("mcp.v1.default.rq.m._.dead", func([]byte) []byte { return []byte(`{"stream":"TAP","seq":1}`) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := s.server.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := s.dial(t, wire.Target{Name: "dead"})
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
	wantError(t, hear(t, p), wire.ErrForeign)
}

// killed is a server in a process of its own with a session and calls that hang.
func killed(t *testing.T, opts *wire.CallerOptions) (*bustest.Process, wire.Pipe, wire.Pipe) {
	node := bustest.Node(t, &bus.NodeOptions{Listen: "127.0.0.1:0"})
	child := bustest.Child(t, "server", node.URL(), "w", "I1")
	child.Line()
	caller, err := wire.NewCaller(bustest.Connect(t, node), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	var pipes [2]wire.Pipe
	for i := range pipes {
		if pipes[i], err = caller.Dial(wire.Target{Name: "w"}); err != nil {
			t.Fatal(err)
		}
	}
	open(t, pipes[1])
	for _, p := range pipes {
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"hang"}`)
		say(t, p, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)
		if m := hear(t, p); string(m.ID) != "2" || m.Result == nil {
			t.Fatalf("a living server: %s", m.raw)
		}
	}
	return child, pipes[0], pipes[1]
}

func TestKilledInstanceEndsCallsWithoutARegistry(t *testing.T) {
	t.Parallel()
	child, p, session := killed(t, nil)
	start := time.Now()
	child.Kill()
	for _, p := range []wire.Pipe{p, session} {
		if facts := wantError(t, hear(t, p), wire.ErrEnded); facts.Instance != "I1" && facts.Why == "" || facts.Executed != "unknown" {
			t.Errorf("facts %+v", facts)
		}
	}
	if err := hearEnd(t, session); !errors.Is(err, wire.ErrEnded) {
		t.Errorf("the session ended with %v", err)
	}
	took := time.Since(start)
	t.Logf("known after %v", took)
	if took > 10*time.Second {
		t.Errorf("known after %v", took)
	}
	say(t, p, `{"jsonrpc":"2.0","id":3,"method":"m"}`)
	wantError(t, hear(t, p), wire.ErrNoResponders)
}

func TestEndOfTheLeaseEndsCalls(t *testing.T) {
	t.Parallel()
	ended := make(chan string)
	asked := make(chan wire.Owner, 10)
	_, p, session := killed(t, &wire.CallerOptions{Ended: func(_ context.Context, o wire.Owner) <-chan string {
		asked <- o
		return ended
	}})
	if o := <-asked; o.Instance != "I1" || o.Lease != "lease-I1" || o.Name != "w" {
		t.Errorf("asked about %+v", o)
	}
	close(ended)
	for _, p := range []wire.Pipe{p, session} {
		if facts := wantError(t, hear(t, p), wire.ErrEnded); facts.Lease != "lease-I1" || facts.Why != "its lease ended" {
			t.Errorf("facts %+v", facts)
		}
	}
}

// byHand is an instance made of bare NATS messages: what it answers is the test's business.
func byHand(t *testing.T, s *stage, answer func(m *nats.Msg, reply func(kind, seq, body string))) {
	t.Helper()
	nc := s.server.NATS()
	for _, subject := range []string{"mcp.v1.default.rq.*.*.w", "mcp.v1.default.in.HAND.>"} {
		_, err := nc.Subscribe(subject, func(m *nats.Msg) {
			answer(m, func(kind, seq, body string) {
				h := nats.Header{"Mcp-Wire": {"1"}, "Mcp-Frame": {kind}, "Mcp-Seq": {seq}, "Mcp-Instance": {"HAND"}, "Mcp-Lease": {"L9"}, "Mcp-Server": {"w"}}
				_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: h, Data: []byte(body)})
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.server.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// An instance keeps its id when its owner has lost a session: what the old lease owed has ended all the same.
func TestAnotherLeaseOfTheInstanceEndsCalls(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	nc := s.server.NATS()
	byHand(t, s, func(m *nats.Msg, reply func(kind, seq, body string)) {
		if m.Header.Get("Mcp-Frame") != "probe" {
			reply("ack", "1", "")
			return
		}
		body := `{"calls":{"1.1":1},"sessions":{}}` // the first call of the first conversation: it has it, so it says
		_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Data: []byte(body), Header: nats.Header{
			"Mcp-Wire": {"1"}, "Mcp-Frame": {"hb"}, "Mcp-Instance": {"HAND"}, "Mcp-Lease": {"L10"}}})
	})
	p := s.dial(t, wire.Target{Name: "w"})
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
	if facts := wantError(t, hear(t, p), wire.ErrEnded); facts.Lease != "L9" || !strings.Contains(facts.Why, "another lease") {
		t.Errorf("facts %+v", facts)
	}
}

func TestLostFramesEndTheCall(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(m *nats.Msg, reply func(kind, seq, body string)){
		"a gap": func(m *nats.Msg, reply func(kind, seq, body string)) {
			reply("ack", "1", "")
			reply("rs", "3", `{"jsonrpc":"2.0","id":1,"result":{}}`)
		},
		"the instance has answered": func(m *nats.Msg, reply func(kind, seq, body string)) {
			if m.Header.Get("Mcp-Frame") == "probe" {
				reply("hb", "", `{"calls":{},"sessions":{}}`)
			} else {
				reply("ack", "1", "")
			}
		},
		"the instance has said more": func(m *nats.Msg, reply func(kind, seq, body string)) {
			if m.Header.Get("Mcp-Frame") == "probe" {
				var ask struct{ Inbox string }
				_ = json.Unmarshal(m.Data, &ask)
				reply("hb", "", `{"calls":{"1.1":2},"sessions":{}}`)
			} else {
				reply("ack", "1", "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &wire.CallerOptions{FirstFrame: 2 * time.Second})
			byHand(t, s, answer)
			p := s.dial(t, wire.Target{Name: "w"})
			say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
			m := hear(t, p)
			facts := wantError(t, m, wire.ErrUnknown)
			if facts.Instance != "HAND" || facts.Lease != "L9" || facts.Executed != "unknown" || !strings.Contains(m.Error.Message, "lost") {
				t.Errorf("%s", m.raw)
			}
		})
	}
}

func TestCallWithoutFirstFrameEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, &wire.CallerOptions{FirstFrame: 2 * time.Second})
	byHand(t, s, func(*nats.Msg, func(kind, seq, body string)) {}) // takes everything and says nothing, as a frozen process does
	p := s.dial(t, wire.Target{Name: "w"})
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
	wantError(t, hear(t, p), wire.ErrUnknown)
}

func TestLivingInstanceKeepsItsCalls(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	gate := make(chan struct{})
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: func(say wire.Pipe, n int, m message) {
		if m.Method == "slow" {
			<-gate
		}
		echo(say, n, m)
	}})
	session, p := s.dial(t, wire.Target{Name: "w"}), s.dial(t, wire.Target{Name: "w"})
	open(t, session)
	say(t, session, `{"jsonrpc":"2.0","id":1,"method":"slow"}`)
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"slow"}`)
	probes := make(chan *nats.Msg, 100) // every probe passes here too
	if _, err := s.client.NATS().ChanSubscribe("mcp.v1.default.in.I1._._._.w", probes); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 3 {
		<-probes
	}
	if took := time.Since(start); took < 1500*time.Millisecond {
		t.Errorf("three probes for one instance in %v: one a second, whatever the number of calls", took)
	}
	close(gate)
	for _, p := range []wire.Pipe{session, p} {
		if m := hear(t, p); m.Result == nil {
			t.Error(m.raw)
		}
	}
}

func TestDeadCallerEndsItsSessionAndCalls(t *testing.T) {
	t.Parallel()
	node := bustest.Node(t, nil)
	f := legacy()
	cancelled := make(chan struct{})
	handle := f.handle
	f.handle = func(say wire.Pipe, n int, m message) {
		if m.Method == "notifications/cancelled" {
			close(cancelled)
		}
		handle(say, n, m)
	}
	serving, err := wire.Serve(t.Context(), bustest.Connect(t, node), wire.ServeOptions{Name: "w", Instance: "I1"}, f)
	if err != nil {
		t.Fatal(err)
	}
	defer serving.Close()
	conn, err := node.Connect(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := wire.NewCaller(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	session, _ := caller.Dial(wire.Target{Name: "w"})
	p, _ := caller.Dial(wire.Target{Name: "w"})
	open(t, session)
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"hang"}`)
	bustest.Eventually(t, "both conversations run", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.opened == 2 })
	conn.NATS().Close() // as a killed process does: without a farewell
	start := time.Now()
	<-cancelled
	bustest.Eventually(t, "the session's pipe is closed", func() bool {
		f.mu.Lock()
		end := f.ends[0]
		f.mu.Unlock()
		return end.Write(t.Context(), json.RawMessage(`{"method":"x"}`)) != nil
	})
	t.Logf("noticed after %v", time.Since(start))
}
