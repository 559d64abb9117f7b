package shim_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/servers/shim"
	"github.com/toolbus/toolbus/servers/wire"
)

// A session is made again on the next server, with all that the client had said, and the client is told what may be different.
func TestSessionIsMadeAgain(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	first := open(t, b, c, "2025-06-18")
	for _, m := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}`,
		`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a://1"}}`,
		`{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a://2"}}`,
		`{"jsonrpc":"2.0","id":4,"method":"resources/unsubscribe","params":{"uri":"a://1"}}`,
	} {
		c.say(m)
		first.hear(m)
		first.say(`{"jsonrpc":"2.0","id":` + m[22:23] + `,"result":{}}`)
		c.hear(`{"jsonrpc":"2.0","id":` + m[22:23] + `,"result":{}}`)
	}
	roots := `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`
	c.say(roots)
	first.hear(roots)
	first.say(`{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{}}`)
	c.hear(`{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{}}`)
	first.pipe.Close()

	c.hearPart(`"notifications/cancelled"`, `"requestId":7`)
	second := b.server(t)
	again := second.hearPart(`"method":"initialize"`, `"protocolVersion":"2025-06-18"`, `"unknown":12345678901234567890`, `"roots":{"listChanged":true}`)
	if strings.Contains(again, `"id":0`) {
		t.Errorf("the client's id is used again: %s", again)
	}
	second.say(welcome(`"toolbus-again"`, "2025-06-18"))
	second.hear(ready)
	second.hear(roots)
	second.hearPart(`"logging/setLevel"`, `"debug"`)
	second.hearPart(`"resources/subscribe"`, `"a://2"`)
	second.say(`{"jsonrpc":"2.0","id":"toolbus-level","result":{}}`) // not the client's
	c.hearPart("notifications/tools/list_changed")
	c.hearPart("notifications/resources/list_changed")
	c.hearPart("notifications/resources/updated", "a://2")

	// The two servers' requests are not mixed up.
	second.say(`{"jsonrpc":"2.0","id":7,"method":"roots/list"}`)
	asked := c.hearPart("roots/list")
	id := strings.TrimSuffix(strings.TrimPrefix(asked, `{"jsonrpc":"2.0","id":`), `,"method":"roots/list"}`)
	c.say(`{"jsonrpc":"2.0","id":7,"result":{"for":"the first"}}`, `{"jsonrpc":"2.0","id":`+id+`,"result":{"for":"the second"}}`)
	second.hear(`{"jsonrpc":"2.0","id":7,"result":{"for":"the second"}}`)
	second.say(`{"jsonrpc":"2.0","id":8,"method":"roots/list"}`)
	asked = c.hearPart("roots/list")
	id = strings.TrimSuffix(strings.TrimPrefix(asked, `{"jsonrpc":"2.0","id":`), `,"method":"roots/list"}`)
	second.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":8}}`)
	c.hear(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)

	c.say(`{"jsonrpc":"2.0","id":9,"method":"tools/list"}`)
	second.hear(`{"jsonrpc":"2.0","id":9,"method":"tools/list"}`)
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// What was under way is sent again only where that is safe.
func TestOnlySafeRequestsAreRepeated(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	first := open(t, b, c, "2025-11-25")
	c.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	first.hearPart("tools/list")
	list := `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"look","annotations":{"readOnlyHint":true}},{"name":"set","annotations":{"idempotentHint":true}},{"name":"add"}]}}`
	first.say(list)
	c.hear(list)
	call := func(id, tool string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + tool + `"}}`
	}
	requests := []string{call("2", "look"), call("3", "set"), call("4", "add"), call("5", "unknown"), `{"jsonrpc":"2.0","id":6,"method":"prompts/list"}`,
		`{"jsonrpc":"2.0","id":7,"method":"vendor/unknown"}`, call("8", "add")}
	for _, m := range requests {
		c.say(m)
		first.hear(m)
	}
	// The wire answers each before it ends the conversation; one of them was never seen by the server.
	for _, id := range []string{"2", "3", "4", "5", "6", "7"} {
		first.say(string(wire.NewError(wire.CodeEnded, "it has ended", wire.Facts{}).Response([]byte(id))))
	}
	first.say(string(wire.NewError(wire.CodeNotValid, "not valid now", wire.Facts{Executed: "no"}).Response([]byte("8"))))
	first.pipe.Close()
	for _, id := range []string{"4", "5", "7"} {
		c.hearPart(`"id":`+id+`,`, `"code":1002`, `"executed":"unknown"`)
	}
	second := b.server(t)
	second.hearPart("initialize")
	second.say(welcome(`"toolbus-again"`, "2025-11-25"))
	second.hear(ready)
	for _, i := range []int{0, 1, 4, 6} {
		second.hear(requests[i])
	}
	c.hearPart("tools/list_changed")
	c.hearPart("resources/list_changed")
	second.say(`{"jsonrpc":"2.0","id":2,"result":{"from":"the second"}}`)
	c.hear(`{"jsonrpc":"2.0","id":2,"result":{"from":"the second"}}`)
	// A server's own error is the client's, whatever its code.
	second.say(`{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"no"}}`)
	c.hear(`{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"no"}}`)
}

// Without the wire's answers, the end of a conversation is still an answer to each request.
func TestNothingHangsAtTheEnd(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	first := open(t, b, c, "2025-11-25")
	c.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}`, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	first.hearPart("tools/call")
	first.hearPart("tools/list")
	first.pipe.Close()
	c.hearPart(`"id":1,`, `"executed":"unknown"`)
	second := b.server(t)
	second.hearPart("initialize")
	second.say(welcome(`"toolbus-again"`, "2025-11-25"))
	second.hear(ready)
	second.hearPart("tools/list")
}

func TestAnotherVersionIsAnotherSession(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	first := open(t, b, c, "2025-11-25")
	first.pipe.Close()
	second := b.server(t)
	second.hearPart("initialize")
	second.say(welcome(`"toolbus-again"`, "2024-11-05"))
	if err := c.end(); !errors.Is(err, shim.ErrSessionEnded) || !strings.Contains(err.Error(), "2024-11-05") {
		t.Errorf("it ended with %v", err)
	}
}

func TestNoRecreate(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, &shim.Options{NoRecreate: true})
	first := open(t, b, c, "2025-11-25")
	c.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	first.hearPart("tools/list")
	first.say(string(wire.NewError(wire.CodeEnded, "it has ended", wire.Facts{}).Response([]byte("1"))))
	c.hearPart(`"id":1,`, `"code":1002`)
	first.pipe.Close()
	if err := c.end(); !errors.Is(err, shim.ErrSessionEnded) {
		t.Errorf("it ended with %v", err)
	}
}

// A replay that fails is tried again.
func TestReplayIsTriedAgain(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	open(t, b, c, "2025-11-25").pipe.Close()
	second := b.server(t)
	second.hearPart("initialize")
	second.say(string(wire.NewError(wire.CodeNoResponders, "nobody", wire.Facts{}).Response([]byte(`"toolbus-again"`))))
	third := b.server(t)
	third.hearPart("initialize")
	third.pipe.Close()
	fourth := b.server(t)
	fourth.hearPart("initialize")
	fourth.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}`) // before its answer
	fourth.say(welcome(`"toolbus-again"`, "2025-11-25"))
	fourth.hear(ready)
	heard := []string{c.next(), c.next(), c.next()}
	if all := strings.Join(heard, "\n"); !strings.Contains(all, "notifications/message") || !strings.Contains(all, "tools/list_changed") {
		t.Errorf("the client heard %s", all)
	}
}

// A server that does not know initialize is reached through a translation, from then on.
func TestInitializeIsNotKnown(t *testing.T) {
	b := newFakeBus(true)
	c := start(t, b, nil)
	s := b.server(t)
	c.say(hello)
	s.hear(hello)
	s.say(`{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"what?"}}`)
	translated := &peer{t, <-b.translated}
	defer translated.pipe.Close()
	translated.hear(hello)
	translated.say(welcome("0", "2025-11-25"))
	c.hear(welcome("0", "2025-11-25"))
	if _, err := s.pipe.Read(t.Context()); err != io.EOF {
		t.Errorf("the first conversation: %v", err)
	}
	c.say(hello)
	translated.hear(hello)
	translated.say(`{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"what?"}}`)
	c.hearPart(`-32601`)
}
