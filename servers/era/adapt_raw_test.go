package era

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// scripted is a legacy server by hand: what it answers is up to the test, to the byte.
type scripted struct {
	serve  func(say func(string), m wire.Message)
	shared bool // it lends a conversation
	mu     sync.Mutex
	heard  []string // what it was told, but for the handshake
	opened int
	inits  []string
}

func (s *scripted) Shared() wire.Pipe {
	if !s.shared {
		return nil
	}
	return s.start()
}

func (s *scripted) Open(ctx ctx) (wire.Pipe, error) { return s.start(), nil }

func (s *scripted) start() wire.Pipe {
	ours, theirs := wire.Pair()
	s.mu.Lock()
	s.opened++
	s.mu.Unlock()
	say := func(text string) { _ = theirs.Write(background, json.RawMessage(text)) }
	go func() {
		for {
			raw, err := theirs.Read(background)
			if err != nil {
				return
			}
			m, _ := wire.Scan(raw)
			switch {
			case m.Method == methodInitialize:
				s.mu.Lock()
				s.inits = append(s.inits, string(raw))
				s.mu.Unlock()
				say(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"result":` + strings.ReplaceAll(legacyInitialize, "\n", "") + `}`)
			case m.Method == methodPing:
				say(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"result":{}}`)
			case m.Method == methodInitialized:
			default:
				s.mu.Lock()
				s.heard = append(s.heard, string(raw))
				s.mu.Unlock()
				s.serve(say, m)
			}
		}
	}()
	return ours
}

func (s *scripted) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heard...)
}

// one is a modern request at an Adapter, by hand.
type one struct {
	t    testing.TB
	pipe wire.Pipe
}

func begin(t testing.TB, b wire.Stateless, msg string) *one {
	t.Helper()
	pipe, err := b.Single(within(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	if err := pipe.Write(within(t), json.RawMessage(msg)); err != nil {
		t.Fatal(err)
	}
	return &one{t, pipe}
}

func (o *one) next() string {
	o.t.Helper()
	raw, err := o.pipe.Read(within(o.t))
	if err != nil {
		o.t.Fatalf("no answer: %v", err)
	}
	return string(raw)
}

// modern makes a request with what a modern one has to say; more are further members of params.
func modern(id, method, capabilities, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{"_meta":{"` + metaVersion + `":"` + ModernVersion + `","` +
		metaCapabilities + `":` + capabilities + `}` + more + `}}`
}

const (
	canAll  = `{"elicitation":{},"sampling":{},"roots":{}}`
	canNone = `{}`
)

// result reads the result out of a response.
func result(t testing.TB, raw string) object {
	t.Helper()
	r := parse(parse([]byte(raw)).get("result"))
	if r == nil {
		t.Fatalf("no result in %s", raw)
	}
	return r
}

func code(raw string) string {
	return string(parse(parse([]byte(raw)).get("error")).get("code"))
}

// asker asks its client what it is called with, and answers with the answer.
func asker() *scripted {
	var mu sync.Mutex
	waiting := map[string]string{}
	return &scripted{serve: func(say func(string), m wire.Message) {
		mu.Lock()
		defer mu.Unlock()
		id := string(m.ID())
		switch {
		case m.Method == "tools/call":
			name := parse(parse(m.Raw).get("params")).text("name")
			waiting[`"ask `+name+`"`] = id
			say(`{"jsonrpc":"2.0","id":"ask ` + name + `","method":"elicitation/create","params":{"message":"` + name + `","unknown":12345678901234567890}}`)
		case m.Response():
			say(`{"jsonrpc":"2.0","id":` + waiting[id] + `,"result":{"content":[],"got":` + string(parse(m.Raw).get("result")) + `}}`)
		}
	}}
}

func TestNumbersAndUnknownMembersStay(t *testing.T) {
	b := &scripted{shared: true, serve: func(say func(string), m wire.Message) {
		say(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"strange":1.50,"result":{"content":[],"n":12345678901234567890,"_meta":{"x":1e400}}}`)
	}}
	a := adapt(t, b, nil)
	got := begin(t, a, `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","other":[1.0],"params":{"name":"x","arguments":{"n":123456789012345678901},`+
		`"_meta":{"`+metaVersion+`":"`+ModernVersion+`","`+metaCapabilities+`":{},"traceparent":"00-1","progressToken":7}}}`).next()
	for _, want := range []string{`"id":9007199254740993`, `"strange":1.50`, `"n":12345678901234567890`, `"x":1e400`, `"resultType":"complete"`, metaServer} {
		if !strings.Contains(got, want) {
			t.Errorf("the answer lacks %s: %s", want, got)
		}
	}
	heard := b.told()[0]
	for _, want := range []string{`"n":123456789012345678901`, `"other":[1.0]`, `"traceparent":"00-1"`, `"progressToken":"e1"`} {
		if !strings.Contains(heard, want) {
			t.Errorf("the server was not told %s: %s", want, heard)
		}
	}
	if strings.Contains(heard, "io.modelcontextprotocol") {
		t.Errorf("the server was told what is not of its protocol: %s", heard)
	}
	if b.opened != 1 || len(b.inits) != 0 {
		t.Errorf("%d conversations, %d initialized: the one that is lent was there", b.opened, len(b.inits))
	}
}

func TestSuspendedCallsGoOnSideBySide(t *testing.T) {
	b := asker()
	a := adapt(t, b, nil)
	const n = 5
	states := make([]object, n)
	for i := range states {
		states[i] = result(t, begin(t, a, modern(`"a"`, "tools/call", canAll, fmt.Sprintf(`"name":"t%d"`, i))).next())
		if got := states[i].text("resultType"); got != "input_required" {
			t.Fatalf("call %d: %s", i, states[i].raw())
		}
		if !strings.Contains(string(states[i].get("inputRequests")), `"unknown":12345678901234567890`) {
			t.Errorf("the question lost something: %s", states[i].raw())
		}
	}
	for i := n - 1; i >= 0; i-- {
		more := fmt.Sprintf(`"name":"t%d","inputResponses":{"ask-1":{"action":"accept","content":{"n":%d}}},"requestState":%s`, i, i, states[i].get("requestState"))
		got := begin(t, a, modern(`"b"`, "tools/call", canAll, more)).next()
		if want := fmt.Sprintf(`"got":{"action":"accept","content":{"n":%d}}`, i); !strings.Contains(got, want) || !strings.Contains(got, `"id":"b"`) {
			t.Errorf("call %d: %s, want %s", i, got, want)
		}
		if got := code(begin(t, a, modern(`"c"`, "tools/call", canAll, more)).next()); got != "-32602" {
			t.Errorf("a state was taken twice: code %s", got)
		}
	}
	if b.opened != n {
		t.Errorf("%d conversations for %d calls at once", b.opened, n)
	}
}

func TestARetryThatLacksAnAnswerIsAskedAgain(t *testing.T) {
	a := adapt(t, asker(), nil)
	first := result(t, begin(t, a, modern("1", "tools/call", canAll, `"name":"x"`)).next())
	retry := func(responses string, of object) string {
		return modern("2", "tools/call", canAll, `"name":"x","inputResponses":`+responses+`,"requestState":`+string(of.get("requestState")))
	}
	if got := code(begin(t, a, retry(`{"ask-1":{"action":7}}`, first)).next()); got != "-32602" {
		t.Errorf("a bad answer: code %s", got)
	}
	second := result(t, begin(t, a, retry(`{"other":{"action":"accept"}}`, first)).next())
	if second.text("resultType") != "input_required" || parse(second.get("inputRequests")).get("ask-1") == nil {
		t.Fatalf("no second question: %s", second.raw())
	}
	third := result(t, begin(t, a, retry(`{"ask-1":{"action":"decline"},"more":{}}`, second)).next())
	if third.text("resultType") != "complete" || parse(third.get("got")).text("action") != "decline" {
		t.Errorf("after the answer: %s", third.raw())
	}
}

func TestForgedStatesAreRefused(t *testing.T) {
	b := asker()
	a := adapt(t, b, &Options{Instance: "one"})
	other := adapt(t, asker(), &Options{Instance: "one"}) // the same name, another key
	st := result(t, begin(t, a, modern("1", "tools/call", canAll, `"name":"x"`)).next()).text("requestState")
	if !strings.HasPrefix(st, "one.") {
		t.Fatalf("the state does not name its instance: %s", st)
	}
	foreign := result(t, begin(t, other, modern("1", "tools/call", canAll, `"name":"x"`)).next()).text("requestState")
	flipped := []byte(st)
	flipped[10] ^= 1
	for what, forged := range map[string]string{
		"nothing": "", "no seal": "one.", "garbage": "one.AAAA", "flipped": string(flipped), "cut": st[:len(st)-4], "longer": st + "AAAA",
		"of another key": foreign, "of another instance": "two" + st[3:], "long": "one." + strings.Repeat("A", 1<<16), "no instance": st[4:],
	} {
		more := `"name":"x","inputResponses":{"ask-1":{"action":"accept"}},"requestState":` + string(quote(forged))
		if got := code(begin(t, a, modern("2", "tools/call", canAll, more)).next()); got != "-32602" {
			t.Errorf("%s: code %q", what, got)
		}
	}
	answer := `"inputResponses":{"ask-1":{"action":"accept"}},"requestState":` + string(quote(st))
	for what, more := range map[string]string{"another tool": `"name":"y",` + answer, "other arguments": `"name":"x","arguments":{"a":1},` + answer} {
		if got := code(begin(t, a, modern("2", "tools/call", canAll, more)).next()); got != "-32602" {
			t.Errorf("%s: code %q", what, got)
		}
	}
	if heard := b.told(); len(heard) != 1 {
		t.Errorf("the server heard of forgeries: %q", heard)
	}
	result(t, begin(t, a, modern("3", "tools/call", canAll, `"name":"x",`+answer)).next())
}

func TestAStateExpires(t *testing.T) {
	b := asker()
	a := adapt(t, b, &Options{Expiry: 30 * time.Millisecond})
	st := result(t, begin(t, a, modern("1", "tools/call", canAll, `"name":"x"`)).next()).get("requestState")
	until(t, "the server is told that nobody comes", func() bool { return len(b.told()) == 3 })
	heard := b.told()
	if !strings.Contains(heard[1]+heard[2], `"id":"ask x","error"`) || !strings.Contains(heard[1]+heard[2], methodCancelled) {
		t.Errorf("told %q", heard)
	}
	got := begin(t, a, modern("2", "tools/call", canAll, `"name":"x","inputResponses":{"ask-1":{"action":"accept"}},"requestState":`+string(st))).next()
	if code(got) != "-32602" {
		t.Errorf("an expired state: %s", got)
	}
	s := newSeal("x")
	sealed := s.close(state{until: time.Now().Add(-time.Minute)})
	if _, err := s.open(sealed, time.Now()); err != errStateExpired {
		t.Errorf("the seal of an old state: %v", err)
	}
}
