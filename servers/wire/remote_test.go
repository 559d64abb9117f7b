package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`

// another is a Caller of another process.
func (s *stage) another(t testing.TB, opts *wire.CallerOptions) *wire.Caller {
	t.Helper()
	caller, err := wire.NewCaller(bustest.Connect(t, s.node), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	return caller
}

func openRemote(t testing.TB, c *wire.Caller, to wire.Target) *wire.Remote {
	t.Helper()
	response, r, err := c.Open(bustest.Context(t), to, json.RawMessage(initialize))
	if err != nil || r == nil {
		t.Fatalf("%s, %v", response, err)
	}
	return r
}

func remote(t testing.TB, c *wire.Caller, id string) *wire.Remote {
	t.Helper()
	r, err := c.Remote("w", id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type bare struct {
	*wire.Caller
	to wire.Target
}

func (b bare) request(t testing.TB, msg string) *wire.Stream {
	t.Helper()
	s, err := b.Request(bustest.Context(t), b.to, json.RawMessage(msg))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type inSession struct{ *wire.Remote }

func (r inSession) request(t testing.TB, msg string) *wire.Stream {
	t.Helper()
	s, err := r.Request(bustest.Context(t), json.RawMessage(msg))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func next(t testing.TB, s *wire.Stream) wire.Event {
	t.Helper()
	e, err := s.Read(bustest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRequestWithoutSessionIsAStream(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	f := legacy()
	cancelled := make(chan struct{}, 1)
	handle := f.handle
	f.handle = func(say wire.Pipe, n int, m message) {
		if m.Method == "notifications/cancelled" {
			cancelled <- struct{}{}
			return
		}
		handle(say, n, m)
	}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, single{f})
	to := bare{s.caller, wire.Target{Name: "w"}}
	stream := to.request(t, `{"jsonrpc":"2.0","id":7,"method":"talk","params":{"_meta":{"progressToken":"t"}}}`)
	var got []string
	for {
		e, err := stream.Read(bustest.Context(t))
		if err == io.EOF {
			break
		}
		if err != nil || e.ID != "" || e.Err != nil {
			t.Fatalf("%+v, %v", e, err)
		}
		got = append(got, fmt.Sprintf("%s%s last %v", parse(e.Data).Method, parse(e.Data).ID, e.Last))
	}
	want := "notifications/message last false,notifications/progress last false,notifications/progress last false,7 last true"
	if strings.Join(got, ",") != want {
		t.Errorf("heard %q", got)
	}
	// Who closes it early has cancelled it.
	stream = to.request(t, `{"jsonrpc":"2.0","id":8,"method":"hang"}`)
	bustest.Eventually(t, "the server has it", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.opened == 2 })
	stream.Close()
	select {
	case <-cancelled:
	case <-bustest.Context(t).Done():
		t.Fatal("the server was not told")
	}
}

func TestFailuresOfARequestAreEvents(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	stream := bare{s.caller, wire.Target{Name: "nobody"}}.request(t, `{"jsonrpc":"2.0","id":7,"method":"m"}`)
	if e := next(t, stream); !e.Last || !errors.Is(e.Err, wire.ErrNoResponders) || string(parse(e.Data).ID) != "7" {
		t.Errorf("%+v", e)
	}
	if _, err := s.caller.Request(t.Context(), wire.Target{Name: "w"}, json.RawMessage(`{"method":"notifications/x"}`)); err == nil {
		t.Error("a notification was requested")
	}
	if _, _, err := s.caller.Open(t.Context(), wire.Target{Name: "nobody"}, json.RawMessage(initialize)); !errors.Is(err, wire.ErrNoResponders) {
		t.Errorf("opened: %v", err)
	}
}

func TestAnyProcessTakesPartInADetachedSession(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
	first, second := s.caller, s.another(t, nil)
	r := openRemote(t, first, wire.Target{Name: "w"})
	if !strings.HasPrefix(r.ID(), "I1.") || r.Name() != "w" || r.Instance() != "I1" {
		t.Fatalf("%s of %s", r.ID(), r.Name())
	}
	there := remote(t, second, r.ID())
	ctx := bustest.Context(t)
	if err := there.Send(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		t.Fatal(err)
	}
	down, err := r.Listen(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	// The server asks on the downlink, which one process has; the answer comes from another.
	asked := inSession{there}.request(t, `{"jsonrpc":"2.0","id":1,"method":"ask"}`)
	defer asked.Close()
	e := next(t, down)
	if m := parse(e.Data); m.Method != "sampling/createMessage" || e.ID == "" {
		t.Fatalf("%s: %s", e.ID, e.Data)
	}
	if err := there.Send(ctx, json.RawMessage(`{"jsonrpc":"2.0","id":"q1","result":{"x":1}}`)); err != nil {
		t.Fatal(err)
	}
	answered := next(t, down)
	if !strings.Contains(string(answered.Data), `"answer":{"x":1}`) {
		t.Errorf("%s", answered.Data)
	}
	// The newest listener has it; what came since the event that it names is told again.
	newer, err := there.Listen(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if again := next(t, newer); again.ID != answered.ID || string(again.Data) != string(answered.Data) {
		t.Errorf("%s %s, want %s again", again.ID, again.Data, answered.ID)
	}
	if _, err := down.Read(ctx); !errors.Is(err, wire.ErrReplaced) {
		t.Errorf("the older listener: %v", err)
	}
	// While nobody listens the session goes on, and nothing is lost.
	newer.Close()
	talk := inSession{there}.request(t, `{"jsonrpc":"2.0","id":2,"method":"talk","params":{"_meta":{"progressToken":"t"}}}`)
	if e := next(t, talk); parse(e.Data).Method != "notifications/progress" || e.ID == "" || e.Last {
		t.Errorf("%+v %s", e, e.Data)
	}
	if e := next(t, talk); string(parse(e.Data).ID) != "2" || !e.Last {
		t.Errorf("%+v %s", e, e.Data)
	}
	if _, err := talk.Read(ctx); err != io.EOF {
		t.Errorf("after the response: %v", err)
	}
	if down, err = r.Listen(ctx, answered.ID); err != nil {
		t.Fatal(err)
	}
	if e := next(t, down); parse(e.Data).Method != "notifications/message" {
		t.Errorf("%s", e.Data)
	}
	// The end is seen by who listens and by who comes later.
	if err := there.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = down.Read(ctx)
	}
	if !errors.Is(err, wire.ErrNoSession) {
		t.Errorf("who listened: %v", err)
	}
	gone(t, there)
}

// gone wants that nothing can be done any more in a session.
func gone(t *testing.T, r *wire.Remote) {
	t.Helper()
	ctx := bustest.Context(t)
	if e := next(t, inSession{r}.request(t, `{"jsonrpc":"2.0","id":1,"method":"m"}`)); !errors.Is(e.Err, wire.ErrNoSession) || string(parse(e.Data).ID) != "1" {
		t.Errorf("a request: %s", e.Data)
	}
	if err := r.Send(ctx, json.RawMessage(`{"method":"notifications/x"}`)); !errors.Is(err, wire.ErrNoSession) {
		t.Errorf("a notification: %v", err)
	}
	if err := r.Close(ctx); !errors.Is(err, wire.ErrNoSession) {
		t.Errorf("closing: %v", err)
	}
	for _, after := range []string{"", "d-1", "r1-1"} {
		if _, err := r.Listen(ctx, after); !errors.Is(err, wire.ErrNoSession) {
			t.Errorf("listening after %q: %v", after, err)
		}
	}
}

func TestUnknownSessionIsNone(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	serving := s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
	gone(t, remote(t, s.caller, "I1.0123"))
	gone(t, remote(t, s.caller, "I2.0123")) // no such instance
	for _, id := range []string{"", "I1", "I1.", ".x", "I1.a.b", "I1.a b", "I1.*"} {
		if _, err := s.caller.Remote("w", id); !errors.Is(err, wire.ErrNoSession) {
			t.Errorf("%q: %v", id, err)
		}
	}
	r := openRemote(t, s.caller, wire.Target{Name: "w"})
	for _, after := range []string{"x", "r9-1", "d-99"} {
		if _, err := r.Listen(bustest.Context(t), after); !errors.Is(err, wire.ErrUnknown) {
			t.Errorf("after %q: %v", after, err)
		}
	}
	pending := inSession{r}.request(t, `{"jsonrpc":"2.0","id":1,"method":"hang"}`)
	serving.Close()
	if e := next(t, pending); e.Err == nil {
		t.Errorf("%s", e.Data)
	}
	gone(t, r)
}

func TestStreamOfARequestIsResumedElsewhere(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	gate := make(chan struct{})
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: func(say wire.Pipe, n int, m message) {
		if m.Method == "slow" {
			write(say, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}`)
			<-gate
			write(say, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":2}}`)
		}
		echo(say, n, m)
	}})
	conn, err := s.node.Connect(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := wire.NewCaller(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	r := openRemote(t, first, wire.Target{Name: "w"})
	stream := inSession{r}.request(t, `{"jsonrpc":"2.0","id":1,"method":"slow","params":{"_meta":{"progressToken":"t"}}}`)
	seen := next(t, stream)
	conn.NATS().Close() // the process that asked is killed
	there := remote(t, s.caller, r.ID())
	ctx := bustest.Context(t)
	resumed, err := there.Resume(ctx, seen.ID)
	if err != nil {
		t.Fatal(err)
	}
	close(gate)
	second, last := next(t, resumed), next(t, resumed)
	if !strings.Contains(string(second.Data), `"progress":2`) || !last.Last || string(parse(last.Data).ID) != "1" {
		t.Errorf("%s, %s", second.Data, last.Data)
	}
	// After the end as well.
	again, err := there.Resume(ctx, second.ID)
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, again); e.ID != last.ID || string(e.Data) != string(last.Data) {
		t.Errorf("%s %s", e.ID, e.Data)
	}
	if _, err := again.Read(ctx); err != io.EOF {
		t.Errorf("after the response: %v", err)
	}
}

func TestUnusedSessionEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, &wire.CallerOptions{Idle: time.Second})
	f := legacy()
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, f)
	r := openRemote(t, s.caller, wire.Target{Name: "w"})
	bustest.Eventually(t, "the session's pipe is closed", func() bool {
		f.mu.Lock()
		end := f.ends[0]
		f.mu.Unlock()
		return end.Write(t.Context(), json.RawMessage(`{"method":"x"}`)) != nil
	})
	gone(t, r)
}
