package shim_test

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/shim"
	"github.com/toolbus/toolbus/servers/wire"
)

// Bytes pass as they are, both ways.
func TestBytesPass(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	s := b.server(t)
	up := `{ "jsonrpc":"2.0", "x" : [1.50, {"a":"\u00e9"}], "id":12345678901234567890, "method":"vendor/x","params":{"big":12345678901234567890}}`
	c.say(up, "")
	s.hear(up)
	down := `{"jsonrpc":"2.0", "id":12345678901234567890 ,"result":{"v":1e400,"y":"<&>"},"more":null}`
	s.say(down)
	c.hear(down)
	s.say("{\"jsonrpc\":\"2.0\",\n \"method\":\"notifications/x\"\r\n}")
	c.hear(`{"jsonrpc":"2.0",  "method":"notifications/x"  }`)
	s.say(`this is no message`)
	s.say(`{"jsonrpc":"2.0","id":99,"result":{"nobody":"asked"}}`)
	s.say(`{"jsonrpc":"2.0","method":"notifications/y"}`)
	c.hear(`{"jsonrpc":"2.0","method":"notifications/y"}`)
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if _, err := s.pipe.Read(t.Context()); err != io.EOF {
		t.Errorf("after the client has closed: %v", err)
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, &shim.Options{MaxMessage: 1000})
	s := b.server(t)
	c.say(`garbage`)
	c.hearPart(`"id":null`, `-32700`)
	c.say(`[]`)
	c.hearPart(`"id":null`, `-32600`)
	c.say(`{"jsonrpc":"2.0","id":1,"method":"x","params":"` + strings.Repeat("x", 200_000) + `"}`)
	c.hearPart(`"id":null`, `"code":1004`)
	c.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	s.hear(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	c.say(`{"jsonrpc":"2.0","id":1,"method":"y"}`)
	c.hearPart(`"id":1`, `in flight`)
	s.say(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	c.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	c.say(`[{"jsonrpc":"2.0","id":2,"method":"x"}]`) // no session of a version with batches
	c.hearPart(`"id":null`, `-32600`)
}

func TestBatches(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	s := open(t, b, c, "2025-03-26")
	c.say(`[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"notifications/n"},5,{"jsonrpc":"2.0","id":2,"method":"initialize"},{"jsonrpc":"2.0","id":"x","method":"b"}]`)
	s.hear(`{"jsonrpc":"2.0","id":1,"method":"a"}`)
	s.hear(`{"jsonrpc":"2.0","method":"notifications/n"}`)
	s.hear(`{"jsonrpc":"2.0","id":"x","method":"b"}`)
	s.say(`{"jsonrpc":"2.0","id":"x","result":{}}`)
	s.say(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	c.hear(`{"jsonrpc":"2.0","method":"notifications/progress"}`) // by itself
	s.say(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	got := c.hearPart(`{"jsonrpc":"2.0","id":"x","result":{}},{"jsonrpc":"2.0","id":1,"result":{}}`, `"id":2,"error"`, `-32700`)
	if !strings.HasPrefix(got, "[") || !strings.HasSuffix(got, "]") {
		t.Errorf("not an array: %s", got)
	}
	// Nothing to answer, and a cancelled part.
	c.say(`[{"jsonrpc":"2.0","method":"notifications/n"}]`)
	s.hear(`{"jsonrpc":"2.0","method":"notifications/n"}`)
	c.say(`[{"jsonrpc":"2.0","id":3,"method":"a"},{"jsonrpc":"2.0","id":4,"method":"b"}]`)
	s.hearPart(`"id":3`)
	s.hearPart(`"id":4`)
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`
	c.say(cancel)
	s.hear(cancel)
	s.say(`{"jsonrpc":"2.0","id":4,"result":{}}`)
	c.hear(`[{"jsonrpc":"2.0","id":4,"result":{}}]`)
}

// Requests wait for a server, are then refused, and a server that comes is picked up.
func TestMissingServer(t *testing.T) {
	b := newFakeBus(false)
	c := start(t, b, &shim.Options{Wait: 300 * time.Millisecond})
	began := time.Now()
	c.say(hello, `{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	c.hear(`{"jsonrpc":"2.0","id":"p","result":{}}`) // the shim is there
	c.hearPart(`"id":0,`, `"code":1012`, `no server is registered as fake`)
	if waited := time.Since(began); waited < 250*time.Millisecond {
		t.Errorf("it was refused after %v", waited)
	}
	c.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	c.hearPart(`"id":1,`, `"code":1012`)
	b.set(true)
	s := b.server(t)
	for i := 2; ; i++ { // the shim is a moment behind
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, i))
		line, raw := either(c, s)
		if raw == fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, i) {
			break
		}
		if !strings.Contains(line, `"code":1012`) {
			t.Fatalf("the client heard %s, the server %s", line, raw)
		}
	}
}

// either is what the client hears, or the server, whichever is first.
func either(c *client, s *peer) (line, raw string) {
	for end := time.Now().Add(bustest.Deadline); time.Now().Before(end); {
		select {
		case line = <-c.lines:
			return line, ""
		default:
		}
		if raw, err := readSoon(s); err == nil {
			return "", raw
		}
	}
	return "", ""
}

// What waits goes out in order, and what was cancelled meanwhile does not.
func TestBacklog(t *testing.T) {
	b := newFakeBus(false)
	c := start(t, b, &shim.Options{Wait: time.Minute})
	for i := range 50 {
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, i))
	}
	c.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`, `{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	c.hearPart(`"id":"p"`)
	b.set(true)
	s := b.server(t)
	for i := range 50 {
		if i != 7 {
			s.hear(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, i))
		}
	}
}

// Nobody answers though somebody is registered: it is tried for as long as a request may wait.
func TestSilentOwner(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, &shim.Options{Wait: time.Second})
	s := b.server(t)
	c.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}`)
	for tries := 0; ; tries++ {
		line, raw := either(c, s)
		if raw == "" {
			if !strings.Contains(line, `"code":1001`) || tries < 2 {
				t.Errorf("after %d tries: %s", tries, line)
			}
			return
		}
		s.say(string(wire.NewError(wire.CodeNoResponders, "nobody answers", wire.Facts{Executed: "no"}).Response([]byte("1"))))
	}
}

// A client that does not read holds up its own conversation and no more; what it writes is still taken.
func TestSlowReader(t *testing.T) {
	b := newFakeBus(true)
	c, out := startUnread(t, b, nil)
	s := b.server(t)
	read := make(chan int)
	go func() { // the server says more than any buffer holds
		for i := range 200 {
			s.say(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/x","params":%d}`, i))
		}
	}()
	for i := range 200 { // garbage is answered by the shim itself
		c.say("garbage", fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"a"}`, i))
		s.hearPart(`"method":"a"`)
	}
	go func() {
		n, errs := 0, 0
		r := bufio.NewScanner(out)
		for n+errs < 400 && r.Scan() {
			if strings.Contains(r.Text(), "-32700") {
				errs++
			} else if strings.HasSuffix(r.Text(), fmt.Sprintf(`"params":%d}`, n)) {
				n++
			}
		}
		read <- n + errs
	}()
	if n := <-read; n != 400 {
		t.Errorf("%d of 400 lines, in order", n)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// Answers under way are waited for a moment when the client has closed.
func TestLastAnswers(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	s := b.server(t)
	c.say(`{"jsonrpc":"2.0","id":1,"method":"a"}`)
	s.hearPart(`"id":1`)
	c.in.Close()
	s.say(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	c.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	if err := c.end(); err != nil {
		t.Error(err)
	}
}
