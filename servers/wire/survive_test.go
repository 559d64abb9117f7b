package wire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// Servers that carry a session are killed under load, first that of the caller and then that of the instance: not one message is lost, doubled, or out of order,
// in either direction.
func TestSessionSurvivesTheServersThatCarryIt(t *testing.T) {
	t.Parallel()
	nodes := bustest.Nodes(t, 4) // two may die: two are left, each side on one of them
	caller, err := wire.NewCaller(bustest.Dial(t, nodes[0].URL, nil), &wire.CallerOptions{
		FirstFrame: time.Minute, Ended: func(context.Context, wire.Owner) <-chan string { return nil }}) // its lease lives
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	server := bustest.Dial(t, nodes[1].URL, nil)
	next := 0
	serving, err := wire.Serve(t.Context(), server, wire.ServeOptions{Name: "w", Instance: "I1"}, &inOrder{func(say wire.Pipe, m message) {
		switch m.Method {
		case "initialize":
			write(say, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
		case "count":
			if got := string(m.ID); got != fmt.Sprint(next+1) {
				t.Errorf("the server heard request %s after %d", got, next)
			}
			next++
			write(say, `{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%s}}`, m.ID)
			write(say, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { serving.Close() })
	var p wire.Pipe
	bustest.Eventually(t, "the instance is seen through the cluster", func() bool {
		if p, err = caller.Dial(wire.Target{Name: "w"}); err != nil {
			t.Fatal(err)
		}
		say(t, p, `{"jsonrpc":"2.0","id":0,"method":"initialize"}`)
		return hear(t, p).Result != nil
	})
	const each = 300
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 1; i <= 3*each; i++ {
			switch i {
			case each:
				nodes[0].Kill()
			case 2 * each:
				nodes[1].Kill()
			}
			if err := p.Write(bustest.Context(t), json.RawMessage(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"count"}`, i))); err != nil {
				t.Errorf("request %d: %v", i, err)
				return
			}
		}
	}()
	told := 0
	for answers := 0; answers < 3*each || told < 3*each; { // what was lost of one stream may come later than what was not of another
		m := hear(t, p)
		switch {
		case m.Method != "":
			if told++; !strings.Contains(string(m.Params), fmt.Sprintf(`"n":%d}`, told)) {
				t.Fatalf("notification %d is %s", told, m.raw)
			}
		case m.Error != nil:
			t.Fatalf("after %d answers: %s", answers, m.raw)
		default:
			answers++
		}
	}
	<-sent
}

// inOrder is a backend that takes one message after the other.
type inOrder struct {
	handle func(say wire.Pipe, m message)
}

func (b *inOrder) Shared() wire.Pipe { return nil }

func (b *inOrder) Open(context.Context) (wire.Pipe, error) {
	ours, theirs := wire.Pair()
	go func() { // ends with the pipe
		for {
			raw, err := theirs.Read(context.Background())
			if err != nil {
				return
			}
			b.handle(theirs, parse(raw))
		}
	}()
	return ours, nil
}
