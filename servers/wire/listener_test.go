package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// What a server says between two listeners waits for the second, who knows of no event; what the first has read does not come again.
func TestNextListenerHearsWhatNobodyHasTaken(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
	r := openRemote(t, s.caller, wire.Target{Name: "w"})
	ctx := bustest.Context(t)
	talk := func() {
		for stream := (inSession{r}).request(t, `{"jsonrpc":"2.0","id":2,"method":"talk"}`); !next(t, stream).Last; {
		}
	}
	first, err := r.Listen(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	talk()
	var last wire.Event
	for range 3 { // a message, and progress of nobody's call twice
		last = next(t, first)
	}
	first.Close()
	talk() // the instance does not know yet that nobody listens
	second, err := r.Listen(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if second.Start() != last.ID {
		t.Errorf("the second begins after %s, the first has read up to %s", second.Start(), last.ID)
	}
	if e := next(t, second); parse(e.Data).Method != "notifications/message" {
		t.Errorf("the second hears %s", e.Data)
	}
}

// A client that never listens is asked on the stream of its request.
func TestAskedOnTheStreamOfTheRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	f := legacy()
	handle := f.handle
	f.handle = func(say wire.Pipe, n int, m message) {
		if m.Method == "" { // the answer: with it the call ends
			write(say, `{"jsonrpc":"2.0","id":5,"result":%s}`, m.Result)
			return
		}
		handle(say, n, m)
	}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, f)
	r := openRemote(t, s.caller, wire.Target{Name: "w"})
	stream := inSession{r}.request(t, `{"jsonrpc":"2.0","id":5,"method":"ask"}`)
	e := next(t, stream)
	if m := parse(e.Data); m.Method != "sampling/createMessage" || e.Last || e.ID == "" {
		t.Fatalf("heard %s, last %v, id %q", e.Data, e.Last, e.ID)
	}
	if err := r.Send(bustest.Context(t), json.RawMessage(`{"jsonrpc":"2.0","id":"q1","result":{"is":42}}`)); err != nil {
		t.Fatal(err)
	}
	if e := next(t, stream); !e.Last || string(parse(e.Data).Result) != `{"is":42}` {
		t.Errorf("the answer is %s", e.Data)
	}
}
