package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// A tap sees both directions of requests and sessions, in order, no secret, and what is too large by its size.
func TestTap(t *testing.T) {
	s := newStage(t, nil)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, legacy())
	tap, err := wire.NewTap(s.client, "")
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	ctx := bustest.Context(t)
	if err := tap.Ask(ctx, "w", "I2"); !errors.Is(err, wire.ErrNoResponders) {
		t.Errorf("an instance that is not there: %v", err)
	}
	for range 2 { // asking again is no second tap
		if err := tap.Ask(ctx, "w", "I1"); err != nil {
			t.Fatal(err)
		}
	}
	next := func(toServer bool, part string) wire.Copy {
		t.Helper()
		c, err := tap.Read(ctx)
		if err != nil || c.ToServer != toServer || !strings.Contains(string(c.Message), part) || c.Name != "w" || c.Instance != "I1" || c.Missed != 0 {
			t.Fatalf("read %+v %s, %v; not %s", c, c.Message, err, part)
		}
		return c
	}
	p := s.dial(t, wire.Target{Name: "w"})
	say(t, p, `{"jsonrpc":"2.0","id":12345678901234567890,"method":"x"}`)
	hear(t, p)
	up := next(true, `"id":12345678901234567890,"method":"x"`)
	down := next(false, `"id":12345678901234567890`)
	if up.Client != down.Client {
		t.Errorf("request and response are of %s and %s", up.Client, down.Client)
	}
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"x","params":"%s"}`, strings.Repeat("x", 2<<20))
	hear(t, p)
	if c := next(true, ""); c.Message != nil || c.Size < 2<<20 {
		t.Errorf("a large message: %d bytes, its size is %d", len(c.Message), c.Size)
	}
	next(false, "")

	session := s.dial(t, wire.Target{Name: "w"})
	open(t, session)
	next(true, `"initialize"`)
	opened := next(false, `"id"`)
	say(t, session, `{"jsonrpc":"2.0","id":5,"method":"ask"}`)
	asked := hear(t, session)
	for next(true, "").Message == nil { // initialized, perhaps
	}
	for {
		c, err := tap.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(c.Message), "sampling/createMessage") {
			if c.ToServer || c.Client != opened.Client {
				t.Errorf("the server's request: %+v", c)
			}
			break
		}
	}
	if asked.Method != "sampling/createMessage" {
		t.Errorf("the client heard %s", asked.raw)
	}
}
