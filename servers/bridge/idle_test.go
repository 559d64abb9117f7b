//go:build unix

package bridge

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// starts is how often a fake that marks its starts was started.
func starts(path string) int {
	data, _ := os.ReadFile(path)
	return len(data)
}

// A lazy server is described by a child that ends again; the first request starts another, and so does one after it was idle.
func TestLazyStartsWithTheFirstRequest(t *testing.T) {
	here, there := onBus(t)
	marks := filepath.Join(t.TempDir(), "starts")
	o := quick()
	o.ProbeTimeout = patience
	o.Child.Env = []string{"SEEN=" + marks}
	o.Lazy, o.Idle = true, 100*time.Millisecond
	r := here.run(t, "lazy", &RunOptions{Stdio: o}, "echo")
	idle := func() bool {
		rec, err := there.reg.Whereis("lazy")
		return err == nil && rec.Metadata[MetaState] == StateIdle && rec.Metadata[MetaTools] == "5" && rec.Metadata[MetaPID] == ""
	}
	eventually(t, "it is described, and does not run", idle)
	if n := starts(marks); n != 1 {
		t.Errorf("%d starts to describe it", n)
	}
	session := there.dial(t, wire.Target{Name: "lazy"}, servers.ModernVersion, nil)
	for round := range 3 {
		if got := call(t, session, "echo", map[string]any{"text": strconv.Itoa(round)}); got != strconv.Itoa(round) {
			t.Errorf("it said %q", got)
		}
		eventually(t, "it is ended when it is idle", idle)
	}
	if n := starts(marks); n < 2 || n > 5 { // a busy machine may take longer between two requests of one round
		t.Errorf("%d starts", n)
	}
	if r.Err() != nil {
		t.Errorf("it is over: %v", r.Err())
	}

	// What is known needs no start at all.
	info := r.Info()
	known := quick()
	known.Child.Env, known.Lazy, known.Described = o.Child.Env, true, &info
	before := starts(marks)
	r = here.run(t, "known", &RunOptions{Stdio: known}, "echo")
	if starts(marks) != before || len(r.Groups()) != 2 {
		t.Errorf("%d starts for one that is known, groups %q", starts(marks)-before, r.Groups())
	}
	session = there.dial(t, wire.Target{Name: "known"}, servers.ModernVersion, nil)
	if got := call(t, session, "pid", nil); got != strconv.Itoa(r.Backend().Pid()) {
		t.Errorf("process %s answered, not %d", got, r.Backend().Pid())
	}
}

// Nobody's call is cut off because it takes long, and who listens keeps the child as well.
func TestIdleIsNotBusy(t *testing.T) {
	o := quick()
	o.ProbeTimeout = patience
	o.Idle = 20 * time.Millisecond
	s := startStdio(t, o, "echo")
	p := s.Shared()
	if err := p.Write(within(t), bare(1, "tools/call", servers.Modern, `{"name":"block","arguments":{}}`)); err != nil {
		t.Fatal(err)
	}
	m := s.life.mux
	if wait := m.rest(0); wait == 0 {
		t.Fatal("it rests with a call in flight")
	}
	if err := p.Write(within(t), []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it rests", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.life == nil })
	if err := p.Write(within(t), bare(2, "subscriptions/listen", servers.Modern, `{"notifications":{"toolsListChanged":true}}`)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, p); !strings.Contains(got, "acknowledged") {
		t.Errorf("who listens is told %s", got)
	}
	if wait := s.life.mux.rest(0); wait == 0 {
		t.Error("it rests while somebody listens")
	}
}
