package wire_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// A name is visible a moment before its owner listens: a caller with a registry waits for him.
func TestRequestIsSentAgainToWhoIsJustComing(t *testing.T) {
	t.Parallel()
	for what, message := range map[string]string{
		"a small one": `{"jsonrpc":"2.0","id":1,"method":"m"}`,
		"in parts":    `{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":"` + strings.Repeat("x", 3<<20) + `"}}`,
		"a session":   `{"jsonrpc":"2.0","id":1,"method":"initialize"}`,
	} {
		t.Run(what, func(t *testing.T) {
			var s *stage
			var asked atomic.Int32
			s = newStage(t, &wire.CallerOptions{Held: func(to wire.Target) bool {
				if to.Name != "w" || asked.Add(1) > 1 {
					t.Errorf("asked about %+v, the %dth time", to, asked.Load())
				}
				s.serve(t, wire.ServeOptions{Name: "w", Instance: "I1"}, &fake{handle: echo}) // nobody listened a moment ago
				return true
			}})
			p := s.dial(t, wire.Target{Name: "w"})
			say(t, p, "%s", message)
			if m := hear(t, p); m.Result == nil || asked.Load() != 1 {
				t.Errorf("%.200s; asked %d times", m.raw, asked.Load())
			}
		})
	}
}

// Once, and not for ever; and not where nobody is known.
func TestRequestIsSentAgainOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := newStage(t, &wire.CallerOptions{Held: func(to wire.Target) bool { asked.Add(1); return to.Name == "silent" }})
	for name, atLeast := range map[string]time.Duration{"silent": 50 * time.Millisecond, "unknown": 0} {
		p := s.dial(t, wire.Target{Name: name})
		asked.Store(0)
		start := time.Now()
		say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
		if facts := wantError(t, hear(t, p), wire.ErrNoResponders); facts.Executed != "no" || asked.Load() != 1 {
			t.Errorf("%s: %+v; asked %d times", name, facts, asked.Load())
		}
		if took := time.Since(start); took < atLeast || took > 5*time.Second {
			t.Errorf("%s: an answer after %v", name, took)
		}
	}
	// What was cancelled meanwhile is not sent at all, and nobody hears of it.
	p := s.dial(t, wire.Target{Name: "silent"})
	say(t, p, `{"jsonrpc":"2.0","id":1,"method":"m"}`)
	say(t, p, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	say(t, p, `{"jsonrpc":"2.0","id":2,"method":"m"}`)
	if m := hear(t, p); string(m.ID) != "2" {
		t.Errorf("%s", m.raw)
	}
}
