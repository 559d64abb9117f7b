package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

func TestMain(m *testing.M) { bustest.Main(m, bustest.Children{"server": serverChild}) }

// message is a JSON-RPC message as the tests read it.
type message struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *wire.Error     `json:"error,omitempty"`
	raw    string
}

func parse(raw []byte) message {
	m := message{raw: string(raw)}
	if err := json.Unmarshal(raw, &m); err != nil {
		panic(fmt.Sprintf("%q: %v", raw, err))
	}
	return m
}

// fake is a backend whose servers do what handle says. Each conversation has an end of a pipe and a number.
type fake struct {
	handle           func(say wire.Pipe, n int, m message)
	noShared, refuse bool

	mu     sync.Mutex
	opened int
	ends   []wire.Pipe
	closed sync.WaitGroup
}

func (f *fake) start() wire.Pipe {
	ours, theirs := wire.Pair()
	f.mu.Lock()
	f.opened++
	n := f.opened
	f.ends = append(f.ends, theirs)
	f.mu.Unlock()
	f.closed.Go(func() {
		for {
			raw, err := theirs.Read(context.Background())
			if err != nil {
				return
			}
			f.closed.Go(func() { f.handle(theirs, n, parse(raw)) })
		}
	})
	return ours
}

func (f *fake) Shared() wire.Pipe {
	if f.noShared {
		return nil
	}
	return f.start()
}

func (f *fake) Open(context.Context) (wire.Pipe, error) {
	if f.refuse {
		return nil, errors.New("no more children")
	}
	return f.start(), nil
}

// single is a fake that gives each request a conversation.
type single struct{ *fake }

func (s single) Single(context.Context) (wire.Pipe, error) { return s.start(), nil }

// echo answers every request with its own message, so that a test sees what the backend saw.
func echo(say wire.Pipe, n int, m message) {
	if m.ID != nil && m.Method != "" {
		_ = say.Write(context.Background(), json.RawMessage(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"n":%d,"saw":%s}}`, m.ID, n, m.raw)))
	}
}

func write(say wire.Pipe, format string, args ...any) {
	_ = say.Write(context.Background(), json.RawMessage(fmt.Sprintf(format, args...)))
}

// bench is a node with one server connection and one client connection.
type stage struct {
	node           *bus.Node
	server, client *bus.Conn
	caller         *wire.Caller
}

func newStage(t testing.TB, opts *wire.CallerOptions) *stage {
	t.Helper()
	s := &stage{node: bustest.Node(t, nil)}
	s.server, s.client = bustest.Connect(t, s.node), bustest.Connect(t, s.node)
	caller, err := wire.NewCaller(s.client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	s.caller = caller
	return s
}

func (s *stage) serve(t testing.TB, opts wire.ServeOptions, b wire.Backend) *wire.Serving {
	t.Helper()
	serving, err := wire.Serve(t.Context(), s.server, opts, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { serving.Close() })
	return serving
}

func (s *stage) dial(t testing.TB, to wire.Target) wire.Pipe {
	t.Helper()
	p, err := s.caller.Dial(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func say(t testing.TB, p wire.Pipe, format string, args ...any) {
	t.Helper()
	if err := p.Write(bustest.Context(t), json.RawMessage(fmt.Sprintf(format, args...))); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, p wire.Pipe) message {
	t.Helper()
	raw, err := p.Read(bustest.Context(t))
	if err != nil {
		t.Fatalf("nothing to read: %v", err)
	}
	return parse(raw)
}

// hearEnd reads until the conversation ends, and returns why.
func hearEnd(t testing.TB, p wire.Pipe) error {
	t.Helper()
	for {
		if _, err := p.Read(bustest.Context(t)); err != nil {
			return err
		}
	}
}

func wantError(t testing.TB, m message, sentinel error) wire.Facts {
	t.Helper()
	if m.Error == nil || !errors.Is(m.Error, sentinel) {
		t.Fatalf("got %s, want %v", m.raw, sentinel)
	}
	return m.Error.Facts()
}

// saw is what the backend of echo saw.
func saw(t testing.TB, m message) message {
	t.Helper()
	var r struct{ Saw json.RawMessage }
	if err := json.Unmarshal(m.Result, &r); err != nil || r.Saw == nil {
		t.Fatalf("%s: %v", m.raw, err)
	}
	return parse(r.Saw)
}

// open initializes a legacy session.
func open(t testing.TB, p wire.Pipe) {
	t.Helper()
	say(t, p, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
	if m := hear(t, p); m.Result == nil {
		t.Fatalf("initialize: %s", m.raw)
	}
	say(t, p, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

// serverChild serves the name of its argument over the URL of its argument until it is killed.
func serverChild(ctx context.Context, args []string, out io.Writer) error {
	conn, err := bus.Connect(ctx, args[0], nil)
	if err != nil {
		return err
	}
	b := &fake{handle: func(say wire.Pipe, n int, m message) {
		if m.Method != "hang" {
			echo(say, n, m)
		}
	}}
	if _, err := wire.Serve(ctx, conn, wire.ServeOptions{Name: args[1], Instance: args[2], Lease: "lease-" + args[2]}, b); err != nil {
		return err
	}
	fmt.Fprintln(out, "serving")
	<-ctx.Done()
	return nil
}
