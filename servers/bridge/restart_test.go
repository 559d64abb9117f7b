//go:build unix

package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// mends has children that are started again, soon.
func mends() *StdioOptions {
	o := quick()
	o.Restart, o.ProbeTimeout = OnFailure, patience
	o.Backoff = RestartOptions{Delay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond, Tries: 3, Wait: patience}
	return o
}

// kill ends the first child with SIGKILL.
func kill(t testing.TB, s *Stdio) {
	t.Helper()
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// A killed child comes again: the pending call is told at once how it ended, the name stays, the next call waits for the new child.
func TestKilledChildComesAgain(t *testing.T) {
	here, there := onBus(t)
	r := here.run(t, "phoenix", &RunOptions{Stdio: mends()}, "echo")
	before := r.Record()
	eventually(t, "the name is known elsewhere", func() bool { _, err := there.reg.Whereis("phoenix"); return err == nil })
	gone, err := there.reg.Monitor(within(t), "phoenix")
	if err != nil {
		t.Fatal(err)
	}
	session := there.dial(t, wire.Target{Name: "phoenix"}, servers.ModernVersion, nil)
	pid := call(t, session, "pid", nil)
	pending := make(chan error, 1)
	go func() {
		_, err := session.CallTool(within(t), &mcp.CallToolParams{Name: "block"})
		pending <- err
	}()
	eventually(t, "the call is with the child", func() bool {
		m := r.Backend().life.mux
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.pending) > 0
	})
	kill(t, r.Backend())
	if err := <-pending; err == nil || !strings.Contains(err.Error(), "signal 9") {
		t.Errorf("the pending call ended with %v", err)
	}
	if got := call(t, session, "pid", nil); got == pid || got != strconv.Itoa(r.Backend().Pid()) {
		t.Errorf("after it: %s, before %s, the first child is %d", got, pid, r.Backend().Pid())
	}
	eventually(t, "the record says so", func() bool {
		rec, err := there.reg.Whereis("phoenix")
		return err == nil && rec.Metadata[MetaRestarts] == "1" && rec.Metadata[MetaState] == StateRunning &&
			strings.Contains(rec.Metadata[MetaExit], "signal 9") && rec.Metadata[MetaPID] == strconv.Itoa(r.Backend().Pid())
	})
	if after := r.Record(); after.Token != before.Token || after.Instance != before.Instance {
		t.Errorf("before %+v, after %+v", before, after)
	}
	select {
	case d := <-gone:
		t.Errorf("the name was gone: %+v", d)
	default:
	}
}

// A child that does not last is given up, and so is its name; the error has the last failure in it.
func TestChildThatKeepsDyingIsGivenUp(t *testing.T) {
	here, there := onBus(t)
	marks := filepath.Join(t.TempDir(), "starts")
	o := mends()
	o.Child.Env = []string{"SEEN=" + marks}
	r := here.run(t, "weak", &RunOptions{Stdio: o}, "hand", "weak")
	eventually(t, "the name is known elsewhere", func() bool { _, err := there.reg.Whereis("weak"); return err == nil })
	gone, err := there.reg.Monitor(within(t), "weak")
	if err != nil {
		t.Fatal(err)
	}
	kill(t, r.Backend())
	select {
	case <-gone:
	case <-within(t).Done():
		t.Fatal("the name stays")
	}
	<-r.Done()
	failed, ok := errors.AsType[*RestartError](r.Err())
	if !ok || failed.Tries != 3 || !errors.Is(r.Err(), ErrExited) || !strings.Contains(r.Err().Error(), "out of luck") {
		t.Errorf("it ended with %v", r.Err())
	}
	if starts, _ := os.ReadFile(marks); len(starts) != 4 {
		t.Errorf("it was started %d times, want one and 3 more", len(starts))
	}
}

// A child that ends by itself in good order is not started again, unless one is always wanted.
func TestRestartFollowsTheExit(t *testing.T) {
	for _, test := range []struct {
		how   Restart
		exit  ExitError
		again bool
	}{
		{OnFailure, ExitError{Status: 0}, false},
		{OnFailure, ExitError{Status: 3}, true},
		{OnFailure, ExitError{Status: -1, Signal: syscall.SIGKILL}, true},
		{OnFailure, ExitError{Status: -1, Cause: "was lost with its guard"}, true},
		{Always, ExitError{Status: 0}, true},
		{Never, ExitError{Status: 3}, false},
	} {
		if got := test.how.again(&test.exit); got != test.again {
			t.Errorf("%s after %s: %t", test.how, test.exit.How(), got)
		}
	}
	if _, err := ParseRestart("sometimes"); err == nil {
		t.Error("a way that there is not")
	}
	o := RestartOptions{}.withDefaults()
	for n, bounds := range map[int][2]time.Duration{1: {50, 150}, 2: {100, 300}, 4: {400, 1200}, 50: {5000, 15000}} {
		for range 100 {
			if d := o.delay(n); d < bounds[0]*time.Millisecond || d > bounds[1]*time.Millisecond {
				t.Fatalf("start %d waits %s", n, d)
			}
		}
	}
}

// A request that finds no child waits for one, for a bounded time, and is then refused alone.
func TestRequestsWaitForTheNextChild(t *testing.T) {
	o := mends()
	o.Backoff.Delay, o.Backoff.MaxDelay, o.Backoff.Wait = time.Hour, time.Hour, 50*time.Millisecond
	s := startStdio(t, o, "echo", servers.LegacyVersion)
	kill(t, s)
	eventually(t, "it is between two children", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.life != nil && s.life.child == nil
	})
	p := s.Shared()
	err := p.Write(within(t), bare(1, "tools/list", servers.Legacy, "{}"))
	refused, ok := errors.AsType[*wire.Error](err)
	if !ok || refused.Code != wire.CodeBackend || refused.Facts().Executed != "no" || !strings.Contains(refused.Message, "signal 9") {
		t.Errorf("a request: %v", err)
	}
	if s.Err() != nil {
		t.Errorf("it is over: %v", s.Err())
	}
}

// However many commands start, only some do at the same time.
func TestStartsAreBounded(t *testing.T) {
	before := turns
	turns = make(chan struct{}, 2)
	defer func() { turns = before }()
	a, err := turn(within(t))
	if err != nil {
		t.Fatal(err)
	}
	s := startStdio(t, quick(), "echo") // takes the second, and gives it back
	b, err := turn(within(t))
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		p, err := s.Open(within(t))
		if err == nil {
			err = p.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`))
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("a third start began: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	a()
	a()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the turn is given back", func() bool { return len(turns) == 1 })
	b()
}

// What the children say on stderr is kept, and so is what became of them.
func TestLogKeepsWhatChildrenSay(t *testing.T) {
	l := newLog(3)
	for n := range 5 {
		l.add(7, fmt.Sprint(n))
	}
	lines, more := l.After(0, 0)
	if len(lines) != 3 || lines[0].Text != "2" || lines[0].Seq != 3 || lines[2].Text != "4" || lines[2].PID != 7 {
		t.Errorf("it has %+v", lines)
	}
	if lines, _ := l.After(4, 0); len(lines) != 1 || lines[0].Text != "4" {
		t.Errorf("after 4: %+v", lines)
	}
	if lines, _ := l.After(3, 1); len(lines) != 1 || lines[0].Text != "3" {
		t.Errorf("after 3, one: %+v", lines)
	}
	if lines, _ := l.After(99, 0); len(lines) != 3 {
		t.Errorf("of a bridge that began anew: %+v", lines)
	}
	select {
	case <-more:
		t.Error("more, before there is")
	default:
	}
	l.note("five")
	<-more
	s := startStdio(t, mends(), "hand", "crash")
	kill(t, s)
	eventually(t, "it says that it starts again", func() bool {
		lines, _ := s.Logs().After(0, 0)
		var text []string
		for _, l := range lines {
			text = append(text, l.Text)
		}
		all := strings.Join(text, "\n")
		return strings.Contains(all, "unknown method") && strings.Contains(all, "signal 9") && strings.Contains(all, "starting again in")
	})
}
