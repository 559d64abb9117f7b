package wire_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/wire"
)

// A member that dies with requests: what may be repeated goes to the other, and what may not is told so.
func TestRequestsOfADeadMember(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	tools := `{"tools":[{"name":"look","annotations":{"readOnlyHint":true}},{"name":"set","annotations":{"idempotentHint":true}},{"name":"add"}]}`
	var dead atomic.Pointer[wire.Serving]
	taken := make(chan string, 8)
	member := func(id string) *wire.Serving {
		return s.serve(t, wire.ServeOptions{Name: "w", Instance: id}, single{&fake{handle: func(say wire.Pipe, n int, m message) {
			switch {
			case m.Method == "tools/list":
				write(say, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, tools)
			case dead.CompareAndSwap(nil, nil) && m.ID != nil && m.Method != "":
				taken <- id // and no answer
			default:
				echo(say, n, m)
			}
		}}})
	}
	members := map[string]*wire.Serving{"I1": member("I1"), "I2": member("I2")}
	p := s.dial(t, wire.Target{Name: "w"})
	say(t, p, `{"jsonrpc":"2.0","id":"list","method":"tools/list"}`)
	hear(t, p)
	for id, request := range map[string]struct {
		params string
		safe   bool
	}{
		"look": {`"tools/call","params":{"name":"look"}`, true},
		"set":  {`"tools/call","params":{"name":"set"}`, true},
		"add":  {`"tools/call","params":{"name":"add"}`, false},
		"read": {`"resources/read","params":{"uri":"x:y"}`, true},
		"odd":  {`"something/else"`, false},
	} {
		dead.Store(nil)
		say(t, p, `{"jsonrpc":"2.0","id":%q,"method":%s}`, id, request.params)
		who := <-taken
		dead.Store(members[who])
		members[who].Close()
		m := hear(t, p)
		if !request.safe {
			if facts := wantError(t, m, wire.ErrEnded); facts.Executed != "unknown" || facts.Instance != who {
				t.Errorf("%s: %s", id, m.raw)
			}
		} else if m.Result == nil || string(m.ID) != fmt.Sprintf("%q", id) {
			t.Errorf("%s: %s", id, m.raw)
		}
		members[who] = member(who)
	}
}

func TestBusyMemberIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	gate := make(chan struct{})
	f := &fake{handle: func(say wire.Pipe, n int, m message) {
		if m.Method == "slow" {
			<-gate
		}
		echo(say, n, m)
	}}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1", MaxInFlight: 1, MaxQueue: 1}, single{f})
	full := s.dial(t, wire.Target{Name: "w"})
	say(t, full, `{"jsonrpc":"2.0","id":1,"method":"slow"}`)
	bustest.Eventually(t, "one is served", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.opened == 1 })
	say(t, full, `{"jsonrpc":"2.0","id":2,"method":"slow"}`)
	p := s.dial(t, wire.Target{Name: "w"})
	say(t, p, `{"jsonrpc":"2.0","id":3,"method":"add"}`) // nobody else is there: it is told after some tries
	if facts := wantError(t, hear(t, p), wire.ErrBusy); facts.Executed != "no" {
		t.Errorf("%+v", facts)
	}
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I2"}, single{&fake{handle: echo}})
	for i := range 50 {
		say(t, p, `{"jsonrpc":"2.0","id":%d,"method":"add"}`, i)
	}
	refused := 0
	for range 50 {
		if hear(t, p).Error != nil {
			refused++
		}
	}
	if refused > 15 { // one in 2^5 is the mean
		t.Errorf("%d of 50 were refused beside a member that had room", refused)
	}
	close(gate)
	for range 2 {
		hear(t, full)
	}
}

func TestSilentToolIsGivenUpAndCancelled(t *testing.T) {
	t.Parallel()
	s := newStage(t, &wire.CallerOptions{Silence: 3 * time.Second})
	cancelled := make(chan string, 8)
	s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: func(say wire.Pipe, n int, m message) {
		var params struct {
			Name      string
			RequestID json.RawMessage
			Meta      struct{ ProgressToken json.RawMessage } `json:"_meta"`
		}
		_ = json.Unmarshal(m.Params, &params)
		switch {
		case m.Method == "notifications/cancelled":
			cancelled <- string(params.RequestID)
		case params.Name == "talks": // longer than the limit, and never silent so long
			for range 12 {
				write(say, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`, params.Meta.ProgressToken)
				<-time.After(500 * time.Millisecond)
			}
			echo(say, n, m)
		case params.Name == "silent":
		default:
			echo(say, n, m)
		}
	}})
	session, p := s.dial(t, wire.Target{Name: "w"}), s.dial(t, wire.Target{Name: "w"})
	open(t, session)
	for _, p := range []wire.Pipe{session, p} {
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"talks","_meta":{"progressToken":"t"}}}`)
		say(t, p, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"silent"}}`)
	}
	for _, p := range []wire.Pipe{session, p} {
		ended := map[string]message{}
		for len(ended) < 2 {
			if m := hear(t, p); m.Method == "" {
				ended[string(m.ID)] = m
			}
		}
		if ended["1"].Result == nil {
			t.Errorf("one that makes progress: %s", ended["1"].raw)
		}
		wantError(t, ended["2"], wire.ErrUnknown)
		select {
		case <-cancelled:
		case <-bustest.Context(t).Done():
			t.Fatal("the server was not told")
		}
	}
}
