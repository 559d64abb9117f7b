package wire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// settled waits until a connection sends nothing more, and returns how much it has sent.
func settled(t *testing.T, nc *nats.Conn) uint64 {
	t.Helper()
	var last uint64
	same := 0
	bustest.Eventually(t, "nothing more is sent", func() bool {
		now := nc.Stats().OutBytes
		if same++; now > last+1<<10 { // a sign of life is nothing
			last, same = now, 0
		}
		return same > 20
	})
	return last
}

// A reader that does not read stops its sender after a window, and misses nothing.
func TestSlowReaderStopsItsSender(t *testing.T) {
	t.Parallel()
	const count, size = 24, 1 << 20
	s := newStage(t, nil)
	pad := strings.Repeat("x", size)
	f := &fake{handle: func(say wire.Pipe, n int, m message) {
		if m.Method == "flood" {
			for i := range count {
				write(say, `{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%d,"pad":%q}}`, i, pad)
			}
		}
		echo(say, n, m)
	}}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, f)
	p := s.dial(t, wire.Target{Name: "w"})
	open(t, p)
	before := s.server.NATS().Stats().OutBytes
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"flood"}`)
	if sent := settled(t, s.server.NATS()) - before; sent > 6<<20 || sent < 3<<20 {
		t.Errorf("%d bytes were sent to a reader that does not read", sent)
	}
	next, answered := 0, false
	for next < count || !answered {
		m := hear(t, p)
		switch {
		case m.ID != nil:
			answered = true
		case !strings.HasPrefix(string(m.Params), fmt.Sprintf(`{"n":%d,`, next)):
			t.Fatalf("notification %d is %.80s", next, m.raw)
		default:
			next++
		}
	}
}

// A server that does not read stops its client in the same way.
func TestSlowServerStopsItsClient(t *testing.T) {
	t.Parallel()
	const count, size = 24, 1 << 20
	s := newStage(t, nil)
	gate := make(chan struct{})
	got := make(chan string, count)
	b := &inOrder{func(say wire.Pipe, m message) {
		switch m.Method {
		case "initialize":
			write(say, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
		case "notifications/big":
			<-gate
			got <- string(m.Params[:12])
		}
	}}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, b)
	p := s.dial(t, wire.Target{Name: "w"})
	open(t, p)
	before := s.client.NATS().Stats().OutBytes
	pad := strings.Repeat("x", size)
	wrote := make(chan error, 1)
	go func() {
		for i := range count {
			msg := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/big","params":{"n":%2d,"pad":%q}}`, i, pad)
			if err := p.Write(bustest.Context(t), json.RawMessage(msg)); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	if sent := settled(t, s.client.NATS()) - before; sent > 22<<20 || sent < 3<<20 { // a window, and what the pipe of the server holds
		t.Errorf("%d bytes were sent to a server that does not read", sent)
	}
	close(gate)
	for i := range count {
		if want, is := fmt.Sprintf(`{"n":%2d,"pad`, i), <-got; is != want {
			t.Fatalf("the server heard %s, want %s", is, want)
		}
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}

// Far more than a window passes, in each way that a large message can take.
func TestLargeMessagesPassTheWindow(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: echo})
	msg := json.RawMessage(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"m","params":{"pad":%q}}`, strings.Repeat("x", size)))
	check := func(how string, raw json.RawMessage) {
		t.Helper()
		if len(raw) < size || !strings.Contains(string(raw[:64]), `"id":1,"result"`) {
			t.Errorf("%s: %d bytes, %.80s", how, len(raw), raw)
		}
	}
	session, p := s.dial(t, wire.Target{Name: "w"}), s.dial(t, wire.Target{Name: "w"})
	open(t, session)
	for how, p := range map[string]wire.Pipe{"in a session": session, "without one": p} {
		if err := p.Write(t.Context(), append(json.RawMessage(nil), msg...)); err != nil {
			t.Fatal(err)
		}
		check(how, json.RawMessage(hear(t, p).raw))
	}
	r := openRemote(t, s.caller, wire.Target{Name: "w"})
	check("in a detached session", next(t, inSession{r}.request(t, string(msg))).Data)
	check("as a stream", next(t, bare{s.caller, wire.Target{Name: "w"}}.request(t, string(msg))).Data)
}

// While the connection is away, and while the library waits for the greeting of a server that is silent, a call keeps to its own deadline.
func TestCallKeepsToItsDeadlineWithoutAServer(t *testing.T) {
	t.Parallel()
	nodes := bustest.Nodes(t, 2)
	conn := bustest.Dial(t, nodes[0].URL, nil)
	caller, err := wire.NewCaller(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	p, err := caller.Dial(wire.Target{Name: "w"})
	if err != nil {
		t.Fatal(err)
	}
	lost := conn.NATS().StatusChanged(nats.RECONNECTING)
	for _, node := range nodes { // the kernel accepts connections for them, and nobody says a word
		node.Signal(syscall.SIGSTOP)
		t.Cleanup(func() { node.Signal(syscall.SIGCONT) })
	}
	<-lost
	for i := range 80 { // more than one attempt of the library
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		start := time.Now()
		_ = p.Write(ctx, json.RawMessage(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"m"}`, i)))
		cancel()
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("a call with 100 ms took %v", took)
		}
	}
}
