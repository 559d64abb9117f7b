package wire_test

import (
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// What a server says before anybody listens waits for the first who does: a question at the start of a session would else stay without an answer.
func TestFirstListenerHearsWhatWasSaidBefore(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
	r := openRemote(t, s.caller, wire.Target{Name: "w"})
	ctx := bustest.Context(t)
	for {
		e := next(t, inSession{r}.request(t, `{"jsonrpc":"2.0","id":2,"method":"talk","params":{"_meta":{"progressToken":"t"}}}`))
		if parse(e.Data).Method == "notifications/progress" { // what belongs to no request was said before it
			break
		}
	}
	first, err := r.Listen(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, first); parse(e.Data).Method != "notifications/message" {
		t.Errorf("the first listener hears %s", e.Data)
	}
	second, err := r.Listen(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if second.Start() == first.Start() {
		t.Errorf("the second begins at %s again", second.Start())
	}
}
