package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// legacy is a server that counts for each conversation, asks its client, and talks unasked.
func legacy() *fake {
	return &fake{handle: func(say wire.Pipe, n int, m message) {
		switch m.Method {
		case "ask":
			write(say, `{"jsonrpc":"2.0","id":"q%d","method":"sampling/createMessage","params":{"for":%s}}`, n, m.ID)
		case "talk":
			write(say, `{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%d}}`, n)
			write(say, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}`)
			write(say, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"nobody's","progress":1}}`)
			write(say, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
		case "leave":
			say.Close()
		case "hang", "notifications/initialized":
		case "":
			if m.Error == nil {
				write(say, `{"jsonrpc":"2.0","method":"notifications/message","params":{"answer":%s,"n":%d}}`, m.Result, n)
			}
		default:
			echo(say, n, m)
		}
	}}
}

func TestLegacySessions(t *testing.T) {
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", Groups: []string{"g"}}, legacy())
	// Two at once, one through the group: each has a server of its own.
	pipes := []wire.Pipe{s.dial(t, wire.Target{Name: "w"}), s.dial(t, wire.Target{Group: "g"})}
	for _, p := range pipes {
		open(t, p)
	}
	for i, p := range pipes {
		n := i + 1
		say(t, p, `{"jsonrpc":"2.0","id":9007199254740993,"method":"ask"}`)
		m := hear(t, p)
		if m.Method != "sampling/createMessage" || string(m.ID) != fmt.Sprintf(`"q%d"`, n) {
			t.Fatalf("the server's request: %s", m.raw)
		}
		say(t, p, `{"jsonrpc":"2.0","id":%s,"result":{"big":9007199254740993}}`, m.ID)
		if m := hear(t, p); !strings.Contains(m.raw, fmt.Sprintf(`"answer":{"big":9007199254740993},"n":%d`, n)) {
			t.Errorf("the answer did not arrive: %s", m.raw)
		}
		say(t, p, `{"jsonrpc":"2.0","id":9007199254740995,"method":"tools/call","params":{"name":"a.b"},"x":1}`)
		if m := hear(t, p); string(m.ID) != "9007199254740995" || !strings.Contains(m.raw, `"x":1`) || !strings.Contains(m.raw, fmt.Sprintf(`"n":%d`, n)) {
			t.Errorf("the call: %s", m.raw)
		}
		// Order holds between what belongs to a call and what does not.
		say(t, p, `{"jsonrpc":"2.0","id":3,"method":"talk","params":{"_meta":{"progressToken":"t"}}}`)
		for _, want := range []string{"notifications/message", `"progressToken":"t"`, `nobody's`, `"id":3`} {
			if m := hear(t, p); !strings.Contains(m.raw, want) {
				t.Errorf("heard %s, want %s", m.raw, want)
			}
		}
	}
}

func TestWhatBelongsToACallGoesWithIt(t *testing.T) {
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
	nc := s.client.NATS()
	frames := make(chan *nats.Msg, 16)
	inbox := nc.NewInbox()
	if _, err := nc.ChanSubscribe(inbox+".>", frames); err != nil {
		t.Fatal(err)
	}
	send := func(subject, tail, body string) {
		t.Helper()
		err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: inbox + "." + tail, Data: []byte(body), Header: nats.Header{"Mcp-Wire": {"1"}, "Mcp-Downlink": {inbox + ".d"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	send("mcp.v1.default.rq.initialize._.w", "1", `{"id":1,"method":"initialize"}`)
	instance, session, ok := strings.Cut((<-frames).Header.Get("Mcp-Session"), ".")
	if !ok || instance != "I1" || len(session) != 32 {
		t.Fatalf("session %q of %q", session, instance)
	}
	send("mcp.v1.default.in.I1."+session+".talk._.w", "2", `{"id":2,"method":"talk","params":{"_meta":{"progressToken":"t"}}}`)
	for _, want := range []string{"d 1 nt", "2 1 nt", "d 2 nt", "2 2 rs"} {
		m := <-frames
		if got := m.Subject[len(inbox)+1:] + " " + m.Header.Get("Mcp-Seq") + " " + m.Header.Get("Mcp-Frame"); got != want {
			t.Errorf("frame %s, want %s: %s", got, want, m.Data)
		}
	}
	// The session's subject proves method and target too.
	send("mcp.v1.default.in.I1."+session+".tools/call.safe.w", "3", `{"id":3,"method":"tools/call","params":{"name":"rm"}}`)
	wantError(t, parse((<-frames).Data), wire.ErrRefused)
}

func TestSessionEndsVisibly(t *testing.T) {
	t.Run("the client closes", func(t *testing.T) {
		s := newStage(t, nil)
		f := legacy()
		s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, f)
		p := s.dial(t, wire.Target{Name: "w"})
		open(t, p)
		p.Close()
		f.closed.Wait() // the server's end of the pipe is closed
		if err := hearEnd(t, p); err != io.EOF {
			t.Errorf("Read after Close: %v", err)
		}
	})
	t.Run("the server ends", func(t *testing.T) {
		s := newStage(t, nil)
		s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", Lease: "L1"}, legacy())
		p := s.dial(t, wire.Target{Name: "w"})
		open(t, p)
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"hang"}`)
		say(t, p, `{"jsonrpc":"2.0","id":2,"method":"leave"}`)
		for range 2 {
			if facts := wantError(t, hear(t, p), wire.ErrBackend); facts.Executed != "unknown" || facts.Lease != "L1" {
				t.Errorf("facts %+v", facts)
			}
		}
		if err := hearEnd(t, p); !errors.Is(err, wire.ErrBackend) {
			t.Errorf("the session ended with %v", err)
		}
		if err := p.Write(t.Context(), json.RawMessage(`{"method":"x"}`)); err == nil || errors.Is(err, wire.ErrBackend) {
			t.Errorf("Write after the end: %v", err)
		}
	})
	t.Run("the instance closes", func(t *testing.T) {
		s := newStage(t, nil)
		serving := s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
		p := s.dial(t, wire.Target{Name: "w"})
		open(t, p)
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"hang"}`)
		say(t, p, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)
		if m := hear(t, p); m.Result == nil {
			t.Fatal(m.raw)
		}
		serving.Close()
		wantError(t, hear(t, p), wire.ErrEnded)
		if err := hearEnd(t, p); !errors.Is(err, wire.ErrEnded) {
			t.Errorf("the session ended with %v", err)
		}
	})
	t.Run("a frame is lost", func(t *testing.T) {
		s := newStage(t, nil)
		s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
		p := s.dial(t, wire.Target{Name: "w"})
		open(t, p)
		tap := make(chan *nats.Msg, 16) // learn the session's subject
		if _, err := s.server.NATS().ChanSubscribe("mcp.v1.default.in.I1.>", tap); err != nil {
			t.Fatal(err)
		}
		if err := s.server.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		hear(t, p)
		m := <-tap
		forged := &nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data, Header: nats.Header{"Mcp-Wire": {"1"}, "Mcp-Seq": {"9"}}}
		if err := s.client.NATS().PublishMsg(forged); err != nil {
			t.Fatal(err)
		}
		if err := hearEnd(t, p); !errors.Is(err, wire.ErrNoSession) || !strings.Contains(err.Error(), "lost") {
			t.Errorf("the session ended with %v", err)
		}
	})
	t.Run("no server to be had", func(t *testing.T) {
		s := newStage(t, nil)
		s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", MaxSessions: 1}, &fake{handle: echo, refuse: true})
		p := s.dial(t, wire.Target{Name: "w"})
		say(t, p, `{"jsonrpc":"2.0","id":0,"method":"initialize"}`)
		if m := hear(t, p); !strings.Contains(m.raw, "no more children") {
			t.Error(m.raw)
		}
	})
	t.Run("too many", func(t *testing.T) {
		s := newStage(t, nil)
		s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", MaxSessions: 1}, legacy())
		p, q := s.dial(t, wire.Target{Name: "w"}), s.dial(t, wire.Target{Name: "w"})
		open(t, p)
		say(t, q, `{"jsonrpc":"2.0","id":0,"method":"initialize"}`)
		wantError(t, hear(t, q), wire.ErrBusy)
		p.Close()
		bustest.Eventually(t, "there is room again", func() bool {
			say(t, q, `{"jsonrpc":"2.0","id":0,"method":"initialize"}`)
			return hear(t, q).Result != nil
		})
	})
}

func TestLargeMessagesTravelInParts(t *testing.T) {
	s := newStage(t, nil)
	for i, backend := range []wire.Backend{&fake{handle: echo}, single{&fake{handle: echo}}} {
		s.serve(t, wire.ServeOptions{Name: fmt.Sprintf("w%d", i), Instance: fmt.Sprintf("I%d", i), Groups: []string{"g"}}, backend)
	}
	big := string(bytes.Repeat([]byte("0123456789"), 850_000)) // 8.5 MB, the server takes 1 MiB at a time
	session := s.dial(t, wire.Target{Name: "w0"})
	open(t, session)
	for name, p := range map[string]wire.Pipe{"shared": s.dial(t, wire.Target{Name: "w0"}), "single": s.dial(t, wire.Target{Name: "w1"}),
		"group": s.dial(t, wire.Target{Group: "g"}), "session": session} {
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":%q}}`, big)
		say(t, p, `{"jsonrpc":"2.0","id":2,"method":"small"}`)
		for range 2 {
			m := hear(t, p)
			if string(m.ID) == "1" && !strings.Contains(m.raw, big) {
				t.Errorf("%s: not whole: %.300s", name, m.raw)
			} else if m.Error != nil {
				t.Errorf("%s: %s", name, m.raw)
			}
		}
	}
}

func TestTooLargeIsAnErrorAndNeverSilence(t *testing.T) {
	s := newStage(t, &wire.CallerOptions{MaxMessage: 3 << 20})
	f := &fake{handle: func(say wire.Pipe, n int, m message) {
		if m.Method == "grow" {
			write(say, `{"jsonrpc":"2.0","id":%s,"result":%q}`, m.ID, strings.Repeat("x", 5<<20))
			return
		}
		echo(say, n, m)
	}}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, f)
	p := s.dial(t, wire.Target{Name: "w"})
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m","params":%q}`, strings.Repeat("x", 4<<20))
	wantError(t, hear(t, p), wire.ErrTooLarge)
	say(t, p, `{"jsonrpc":"2.0","id":2,"method":"grow"}`)
	wantError(t, hear(t, p), wire.ErrTooLarge)
	server, err := wire.NewServer(s.server, &wire.ServerOptions{MaxMessage: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := server.Serve(t.Context(), wire.ServeOptions{Name: "small", Instance: "I2"}, f); err != nil {
		t.Fatal(err)
	}
	q := s.dial(t, wire.Target{Name: "small"})
	say(t, q, `{"jsonrpc":"2.0","id":1,"method":"m","params":%q}`, strings.Repeat("x", 5<<19))
	wantError(t, hear(t, q), wire.ErrTooLarge)
	say(t, q, `{"jsonrpc":"2.0","id":2,"method":"grow"}`)
	wantError(t, hear(t, q), wire.ErrTooLarge)
	// A bare request cannot take parts: it is told.
	m, err := s.client.NATS().Request("mcp.v1.default.rq.grow._.w", []byte(`{"id":1,"method":"grow"}`), bustest.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, parse(m.Data), wire.ErrTooLarge)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with an ended context: %v", err)
	}
}
