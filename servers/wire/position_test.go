package wire_test

import (
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// A Stream says from where another process goes on, also before anything was read of it.
func TestPositionIsWhereAnotherProcessGoesOn(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
	r := openRemote(t, s.caller, wire.Target{Name: "w"})
	there := remote(t, s.another(t, nil), r.ID())
	ctx := bustest.Context(t)
	talk := inSession{r}.request(t, `{"jsonrpc":"2.0","id":2,"method":"talk","params":{"_meta":{"progressToken":"t"}}}`)
	defer talk.Close()
	bustest.Eventually(t, "the instance has the request", func() bool { return talk.Position() != "" })
	start := talk.Position()
	if next(t, talk); talk.Position() == start || talk.Start() != start {
		t.Errorf("after an event at %s, from %s on; it began at %s", talk.Position(), talk.Start(), start)
	}
	again, err := there.Resume(ctx, start)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	first := next(t, again)
	if method := parse(first.Data).Method; method != "notifications/progress" {
		t.Errorf("from the beginning comes %q", method)
	}
	if again.Position() != first.ID {
		t.Errorf("at %q after %q", again.Position(), first.ID)
	}
	down, err := r.Listen(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	at := down.Position()
	if at == "" {
		t.Fatal("a stream that was listened to has no position")
	}
	if _, err := there.Listen(ctx, at); err != nil {
		t.Errorf("listening after %q: %v", at, err)
	}
	modern := bare{s.caller, wire.Target{Name: "w"}}.request(t, `{"jsonrpc":"2.0","id":7,"method":"m"}`)
	defer modern.Close()
	if at := modern.Position(); at != "" {
		t.Errorf("a request without a session is at %q", at)
	}
}
