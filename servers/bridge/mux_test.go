//go:build unix

package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

func single(t testing.TB, fake string, args ...string) *Stdio {
	t.Helper()
	opts := quick()
	opts.Single, opts.MaxSessions = true, 3
	return startStdio(t, opts, fake, args...)
}

// With Single, clients that use the same ids and tokens share one process and do not notice each other.
func TestSingleServesAllOnOneChild(t *testing.T) {
	s := single(t, "echo", servers.LegacyVersion)
	const clients, calls = 3, 50
	var wg sync.WaitGroup
	for n := range clients {
		p, err := s.Open(within(t))
		if err != nil {
			t.Fatal(err)
		}
		progress := make(chan string, calls)
		session := connect(t, p, servers.LegacyVersion, &mcp.ClientOptions{
			ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
				progress <- fmt.Sprint(req.Params.ProgressToken, " ", req.Params.Message)
			},
		})
		if got := session.InitializeResult(); got.ServerInfo.Name != "echo" || got.Instructions != "say something" {
			t.Errorf("initialize was answered with %+v", got)
		}
		wg.Go(func() {
			if got, want := call(t, session, "pid", nil), fmt.Sprint(s.Pid()); got != want {
				t.Errorf("client %d is served by %s, want %s", n, got, want)
			}
			for i := range calls {
				text := fmt.Sprintf("client %d <call> %d", n, i)
				params := &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": text}}
				params.SetProgressToken(i)
				result, err := session.CallTool(within(t), params)
				if err != nil {
					t.Error(err)
					return
				}
				if got := result.Content[0].(*mcp.TextContent).Text; got != text {
					t.Errorf("%q was answered with %q", text, got)
				}
				if got, want := <-progress, fmt.Sprint(i, " ", text); got != want {
					t.Errorf("progress %q, want %q", got, want)
				}
			}
		})
	}
	wg.Wait()
	m := s.life.mux
	eventually(t, "nothing is kept for nobody", func() bool { // the bridge asks for lists meanwhile
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.pending) == 0 && len(m.tokens) == 0
	})
	if n := s.Sessions(); n != clients {
		t.Errorf("%d sessions, want %d", n, clients)
	}
	if _, err := s.Open(within(t)); !errors.Is(err, ErrBusy) {
		t.Errorf("one client too many: %v", err)
	}
}

// What is not for one is for all; what the server asks is refused, and a cancel finds its call.
func TestSingleRoutesTheRest(t *testing.T) {
	s := single(t, "echo", servers.LegacyVersion)
	open := func() wire.Pipe {
		p, err := s.Open(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	say := func(p wire.Pipe, msg string) {
		t.Helper()
		if err := p.Write(within(t), json.RawMessage(msg)); err != nil {
			t.Fatal(err)
		}
	}
	a, b := open(), open()
	for _, p := range []wire.Pipe{a, b} {
		say(p, `{"jsonrpc":"2.0","id":"i","method":"initialize","params":{}}`)
		if got := read(t, p); !strings.Contains(got, `"id":"i"`) || !strings.Contains(got, `"protocolVersion"`) {
			t.Fatalf("initialize: %s", got)
		}
		say(p, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	// The same id twice, once cancelled: the other call goes on.
	for _, p := range []wire.Pipe{a, b} {
		say(p, `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"block","arguments":{}}}`)
	}
	say(a, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9007199254740993}}`)
	say(a, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`) // there is none
	say(a, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{"text":"x"}}}`)
	for {
		got := read(t, a)
		if strings.Contains(got, `"id":9007199254740993`) {
			continue // the SDK answers a cancelled call
		}
		if !strings.Contains(got, `"id":1`) || !strings.Contains(got, `"isError":true`) {
			t.Fatalf("a tool that asks back: %s", got)
		}
		break
	}
	b.Close()
	if _, err := b.Read(within(t)); err == nil {
		t.Error("a closed conversation reads")
	}
	s.first.Close()
	_, err := a.Read(within(t))
	if err == nil {
		t.Error("no end")
	}
}

func TestSingleToldToAll(t *testing.T) {
	// cat says back what it is told, so that a notification of a client is one of the server's.
	c := start(t, nil, "cat")
	m := newMux(c, servers.Info{Era: servers.Legacy, Result: json.RawMessage(`{}`)}, c.log, func() {})
	defer m.close()
	a, b := m.open(true), m.open(true)
	const news = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"x":"<&>"}}}`
	if err := a.Write(within(t), json.RawMessage(news)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []wire.Pipe{a, b} {
		if got := read(t, p); got != news {
			t.Errorf("read %s", got)
		}
	}
}

// A server that is modern alone has nothing to tell a legacy client.
func TestSingleRefusesTheOtherEra(t *testing.T) {
	s := single(t, "hand", "modern")
	p, err := s.Open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	err = p.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"initialize"}`))
	if refused, ok := errors.AsType[*wire.Error](err); !ok || refused.Code != -32022 {
		t.Errorf("initialize: %v", err)
	}
	shared := s.Shared()
	if err := shared.Write(within(t), bare(7, "resources/list", servers.Modern, "{}")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, shared); !strings.Contains(got, `"id":7`) {
		t.Errorf("a modern request: %s", got)
	}
}
