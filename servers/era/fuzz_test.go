package era

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// What is taken apart and put together again means the same; what is no object is not taken for one.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, ` { "a" : [1,{"b":"}"}] , "\u0061":"\"" } `, `{"a":{"a":{}},"a":null}`, `[]`, `"x"`, `{"a":1e400,"":-0.0}`, `{`, `{"a"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := parse(raw)
		if !json.Valid(raw) {
			return // it must not panic; what comes here was scanned before
		}
		if (o != nil) != isObject(raw) {
			t.Fatalf("%q: an object or none", raw)
		}
		if o == nil {
			return
		}
		again := o.raw()
		if !json.Valid(again) || canonical(again) != canonical(raw) {
			t.Fatalf("%q became %q", raw, again)
		}
		with := o.set("era", json.RawMessage("1"))
		if string(with.get("era")) != "1" || with.without("era").get("era") != nil || !json.Valid(with.raw()) {
			t.Fatalf("%q with a member: %q", raw, with.raw())
		}
	})
}

// No state but one's own is opened, and none panics.
func FuzzRequestState(f *testing.F) {
	s := newSeal("one")
	st := state{call: randomBytes(), until: time.Now().Add(time.Hour)}
	good := s.close(st)
	for _, seed := range []string{good, "", ".", "one.", "one.AAAA", "two" + good[3:], good + "=", good[:40]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := s.open(text, time.Now())
		if err == nil && (text != good || got.call != st.call) {
			t.Fatalf("opened %q", text)
		}
		if to := owner(text); to != "" && !bytes.HasPrefix([]byte(text), []byte(to+".")) {
			t.Fatalf("%q is said to be of %q", text, to)
		}
	})
}

// Whatever a server calls input_required, a session's client is told valid messages, and the call ends.
func FuzzInputRequired(f *testing.F) {
	for _, seed := range []string{
		`{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}`, `{"resultType":"input_required"}`,
		`{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url"}},"a":7},"requestState":{}}`,
		`{"resultType":"input_required","inputRequests":[]}`, `{"resultType":["input_required"]}`, `{"tools":[{"outputSchema":{"type":7}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		if !json.Valid(result) {
			return
		}
		a := &answers{reply: func(_ int, m wire.Message) []string {
			if m.Method == methodDiscover {
				return []string{discovered}
			}
			return []string{`{"jsonrpc":"2.0","result":` + string(result) + `,"id":ID}`}
		}}
		s := NewSession(a.request, &SessionOptions{Rounds: 2, Pause: time.Nanosecond})
		defer s.Close()
		write := func(msg string) {
			if err := s.Write(within(t), json.RawMessage(msg)); err != nil {
				t.Fatal(err)
			}
		}
		write(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"elicitation":{"url":{}}}}}`)
		for {
			raw, err := s.Read(within(t))
			if err != nil {
				t.Fatal(err)
			}
			m, err := wire.Scan(raw)
			switch {
			case err != nil:
				t.Fatalf("%q: %v", raw, err)
			case m.Request():
				write(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"result":{}}`)
			case string(m.ID()) == "1":
				write(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
			case string(m.ID()) == "2":
				return
			}
		}
	})
}
