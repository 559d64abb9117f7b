package era

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers/wire"
)

type ctx = context.Context

var background = context.Background()

// member is one of several instances of a name, with a way to the others.
func members(t testing.TB, n int) []*Adapter {
	all := map[string]*Adapter{}
	var list []*Adapter
	for i := range n {
		id := fmt.Sprintf("m%d", i)
		a := adapt(t, asker(), &Options{Instance: id, Forward: func(ctx ctx, to string, msg json.RawMessage) (Stream, error) {
			if all[to] == nil {
				return nil, wire.NewError(wire.CodeNoResponders, "nobody is "+to, wire.Facts{})
			}
			return Singles(all[to])(ctx, msg)
		}})
		all[id], list = a, append(list, a)
	}
	return list
}

func TestARetryAtAnotherMemberIsForwarded(t *testing.T) {
	m := members(t, 3)
	st := result(t, begin(t, m[1], modern("1", "tools/call", canAll, `"name":"x"`)).next()).get("requestState")
	more := `"name":"x","inputResponses":{"ask-1":{"action":"accept"}},"requestState":`
	got := begin(t, m[2], modern("2", "tools/call", canAll, more+string(st))).next()
	if r := result(t, got); parse(r.get("got")).text("action") != "accept" || !strings.Contains(got, `"id":2`) {
		t.Errorf("forwarded: %s", got)
	}
	if got := code(begin(t, m[0], modern("3", "tools/call", canAll, more+`"m9.AAAA"`)).next()); got != "-32602" {
		t.Errorf("a retry for nobody: code %s", got)
	}
}

func TestTheEndOfAConversationEndsItsCalls(t *testing.T) {
	var mu sync.Mutex
	var hang []func()
	b := &scripted{}
	b.serve = func(say func(string), m wire.Message) {
		if m.Method == "tools/call" {
			mu.Lock()
			defer mu.Unlock()
			hang = append(hang, func() {})
		}
	}
	dying := &dyingBackend{Backend: b}
	a := adapt(t, dying, nil)
	call := begin(t, a, modern("1", "tools/call", canAll, `"name":"x"`))
	until(t, "the call", func() bool { mu.Lock(); defer mu.Unlock(); return len(hang) == 1 })
	dying.last.Close()
	if _, err := call.pipe.Read(within(t)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call of a dead server: %v", err)
	}
	b.serve = asker().serve
	result(t, begin(t, a, modern("2", "tools/call", canAll, `"name":"x"`)).next()) // in a new one
}

type dyingBackend struct {
	wire.Backend
	last wire.Pipe
}

func (d *dyingBackend) Open(ctx ctx) (wire.Pipe, error) {
	p, err := d.Backend.Open(ctx)
	d.last = p
	return p, err
}

func TestCancellationReachesALegacyServer(t *testing.T) {
	a, _ := legacy(t, nil)
	blocked := make(chan struct{}, 1)
	opts := answering()
	opts.ProgressNotificationHandler = func(context.Context, *mcp.ProgressNotificationClientRequest) { blocked <- struct{}{} }
	s := connect(t, newSwitchboard(to(a)), ModernVersion, opts)
	ctx, cancel := context.WithCancel(within(t))
	over := make(chan error, 1)
	params := &mcp.CallToolParams{Name: "block"}
	params.SetProgressToken("p")
	go func() {
		_, err := s.CallTool(ctx, params)
		over <- err
	}()
	<-blocked
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	until(t, "the call is over for the server", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, p := range a.pools {
			for _, l := range p.links {
				if len(l.calls) > 0 {
					return false
				}
			}
		}
		return true
	})
	if got := callTool(t, s, "echo", map[string]any{"text": "on"}); got != "on" {
		t.Errorf("after it: %q", got)
	}
}

func TestCancelledCallsAreToldToTheServer(t *testing.T) {
	b := &scripted{serve: func(func(string), wire.Message) {}}
	a := adapt(t, b, nil)
	call := begin(t, a, modern(`"mine"`, "tools/call", canAll, `"name":"x"`))
	until(t, "the call", func() bool { return len(b.told()) == 1 })
	if err := call.pipe.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mine"}}`)); err != nil {
		t.Fatal(err)
	}
	until(t, "the cancellation", func() bool { return len(b.told()) == 2 })
	if heard := b.told()[1]; !strings.Contains(heard, methodCancelled) || !strings.Contains(heard, `"requestId":"e1"`) {
		t.Errorf("told %s", heard)
	}
}

func TestListens(t *testing.T) {
	a, b := legacy(t, nil)
	var mu sync.Mutex
	news := map[string]int{}
	count := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		news[what]++
	}
	seen := func(what string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return news[what] > 0 }
	}
	opts := answering()
	opts.ToolListChangedHandler = func(context.Context, *mcp.ToolListChangedRequest) { count("tools") }
	opts.ResourceUpdatedHandler = func(_ context.Context, req *mcp.ResourceUpdatedNotificationRequest) { count(req.Params.URI) }
	s := connect(t, newSwitchboard(to(a)), ModernVersion, opts)
	until(t, "the listen", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return listening(a) == 1 })
	b.server.AddTool(&mcp.Tool{Name: "late", InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
	until(t, "list_changed", seen("tools"))

	// by hand: the SDK's client has one listen at a time
	l := begin(t, a, modern(`"l"`, methodListen, canAll, `"notifications":{"resourceSubscriptions":["file:///a"],"promptsListChanged":true,"strange":true}`))
	ack := l.next()
	if m, _ := wire.Scan([]byte(ack)); m.Method != methodAcknowledged || string(m.At(wire.PlaceSubscription)) != `"l"` || strings.Contains(ack, "strange") {
		t.Errorf("first: %s", ack)
	}
	if err := b.server.ResourceUpdated(within(t), &mcp.ResourceUpdatedNotificationParams{URI: "file:///a"}); err != nil {
		t.Fatal(err)
	}
	if got := l.next(); !strings.Contains(got, methodUpdated) || !strings.Contains(got, `"`+metaSubscription+`":"l"`) {
		t.Errorf("updated: %s", got)
	}
	l.pipe.Close()
	s.Close()
	until(t, "nobody listens", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return listening(a) == 0 })

	none := begin(t, a, modern(`"n"`, methodListen, canNone, `"notifications":{}`))
	if got := none.next(); !strings.Contains(got, methodAcknowledged) {
		t.Errorf("first: %s", got)
	}
	if got := none.next(); result(t, got).text("resultType") != "complete" {
		t.Errorf("then: %s", got)
	}
}

func listening(a *Adapter) (n int) {
	for _, p := range a.pools {
		n += len(p.listens)
	}
	return n
}

func TestSubscriptionsAreCounted(t *testing.T) {
	b := &scripted{serve: func(say func(string), m wire.Message) {
		say(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"result":{}}`)
	}}
	a := adapt(t, b, nil)
	filter := `"notifications":{"resourceSubscriptions":["u"]}`
	one, two := begin(t, a, modern("1", methodListen, canNone, filter)), begin(t, a, modern("2", methodListen, canNone, filter))
	one.next()
	two.next()
	one.pipe.Close()
	two.pipe.Close()
	until(t, "unsubscribed", func() bool { h := b.told(); return len(h) > 0 && strings.Contains(h[len(h)-1], methodUnsubscribe) })
	if heard := b.told(); len(heard) != 2 {
		t.Errorf("told %q", heard)
	}
}

func TestWhatIsNotModernIsRefused(t *testing.T) {
	a := adapt(t, &scripted{serve: func(say func(string), m wire.Message) {
		if m.Method == "resources/read" {
			say(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"error":{"code":-32002,"message":"no such resource","data":{"uri":"u"}}}`)
			return
		}
		say(`{"jsonrpc":"2.0","id":` + string(m.ID()) + `,"result":{"tools":[]}}`)
	}}, nil)
	meta := func(members string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{` + members + `}}}`
	}
	for what, c := range map[string][2]string{
		"no capabilities":   {meta(`"` + metaVersion + `":"` + ModernVersion + `"`), "-32602"},
		"bad capabilities":  {meta(`"` + metaVersion + `":"` + ModernVersion + `","` + metaCapabilities + `":[]`), "-32602"},
		"bad client":        {meta(`"` + metaVersion + `":"` + ModernVersion + `","` + metaCapabilities + `":{},"` + metaClient + `":7`), "-32602"},
		"another version":   {meta(`"` + metaVersion + `":"2099-01-01","` + metaCapabilities + `":{}`), "-32022"},
		"discover unsigned": {`{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, "-32602"},
		"ping":              {modern("1", "ping", canNone, ""), "-32601"},
		"initialize":        {modern("1", "initialize", canNone, ""), "-32601"},
		"setLevel":          {modern("1", "logging/setLevel", canNone, `"level":"info"`), "-32601"},
		"subscribe":         {modern("1", "resources/subscribe", canNone, `"uri":"u"`), "-32601"},
		"no resource":       {modern("1", "resources/read", canNone, `"uri":"u"`), "-32602"},
		"a listen for what": {modern("1", methodListen, canNone, ""), "-32602"},
		"good":              {modern("1", "tools/list", canNone, ""), ""},
		"bare":              {`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, ""},
	} {
		if got := begin(t, a, c[0]).next(); code(got) != c[1] {
			t.Errorf("%s: %s, want code %q", what, got, c[1])
		}
	}
	if got := result(t, begin(t, a, modern("1", "tools/list", canNone, "")).next()); string(got.get("ttlMs")) != "0" || got.text("cacheScope") != "private" {
		t.Errorf("a list: %s", got.raw())
	}
}

func TestClientsThatCannotBeAskedAreNot(t *testing.T) {
	b := &scripted{shared: true}
	b.serve = func(say func(string), m wire.Message) {
		switch {
		case m.Method == "tools/call":
			say(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?"}}`)
		case m.Response():
			say(`{"jsonrpc":"2.0","id":"e1","result":{"content":[],"refused":` + string(parse(m.Raw).get("error")) + `}}`)
		}
	}
	a := adapt(t, b, nil)
	for _, capabilities := range []string{canNone, `{"sampling":{}}`, `{"elicitation":{"url":{}}}`} {
		got := result(t, begin(t, a, modern("1", "tools/call", capabilities, `"name":"x"`)).next())
		if string(parse(got.get("refused")).get("code")) != "-32601" {
			t.Errorf("a client with %s: %s", capabilities, got.raw())
		}
	}
}

func TestBusyWhenAllConversationsAreInUse(t *testing.T) {
	a := adapt(t, asker(), &Options{MaxLinks: 2, Patience: 50 * time.Millisecond})
	for i := range 2 {
		result(t, begin(t, a, modern("1", "tools/call", canAll, fmt.Sprintf(`"name":"x%d"`, i))).next())
	}
	if got := code(begin(t, a, modern("1", "tools/call", canAll, `"name":"y"`)).next()); got != fmt.Sprint(wire.CodeBusy) {
		t.Errorf("a third call: code %s", got)
	}
}
