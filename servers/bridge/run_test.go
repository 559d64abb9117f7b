//go:build unix

//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package bridge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// peer is one process of the bus: a connection and a registry.
type peer struct {
	conn  *bus.Conn
	reg   *registry.Registry
	store kvstore.Store
}

func newPeer(t testing.TB, node *bus.Node, name string) *peer {
	t.Helper()
	conn := bustest.Connect(t, node)
	store, err := kvstore.OpenJetStream(within(t), conn.NATS(), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.Open(within(t), store, &registry.Options{Scope: "test", Node: name, Peers: conn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Close(within(t)); err != nil {
			t.Errorf("close registry: %v", err)
		}
	})
	return &peer{conn: conn, reg: reg, store: store}
}

func (p *peer) run(t testing.TB, name string, opts *RunOptions, fake string, args ...string) *Running {
	t.Helper()
	r, err := Run(within(t), p.conn, p.reg, name, self(t, fake, args...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(within(t)); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// dial is an SDK client of a name, through the bus.
func (p *peer) dial(t testing.TB, target wire.Target, version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	caller, err := wire.NewCaller(p.conn, &wire.CallerOptions{Scope: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	pipe, err := caller.Dial(target)
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, pipe, version, opts)
}

// onBus is two processes on one node.
func onBus(t testing.TB) (here, there *peer) {
	t.Helper()
	node := bustest.Node(t, nil)
	return newPeer(t, node, "here"), newPeer(t, node, "there")
}

func TestRunMakesANamedServer(t *testing.T) {
	here, there := onBus(t)
	r := here.run(t, "Echo", &RunOptions{
		Groups: []string{"Demo", "tools"}, Labels: map[string]string{"tier": "test"}, Metadata: map[string]string{"team": "a"},
	}, "echo")
	eventually(t, "the name is known elsewhere", func() bool { _, err := there.reg.Whereis("echo"); return err == nil })
	rec, err := there.reg.Describe("echo")
	if err != nil {
		t.Fatal(err)
	}
	if rec.Instance != r.Instance() || rec.Kind != Kind || rec.Node != "here" || rec.Labels["tier"] != "test" || rec.Metadata["team"] != "a" {
		t.Errorf("it is registered as %+v", rec)
	}
	if rec.Metadata[servers.MetaEra] != "modern" || rec.Metadata[servers.MetaVersion] != servers.ModernVersion || rec.Metadata[servers.MetaServer] != `{"name":"echo","version":"v1"}` ||
		rec.Metadata[servers.MetaInstructions] != "say something" || rec.Metadata[MetaPID] != strconv.Itoa(r.Backend().Pid()) {
		t.Errorf("its metadata are %q", rec.Metadata)
	}
	slices.Sort(rec.Groups)
	if want := []string{"demo", "prompts", "tools"}; !slices.Equal(rec.Groups, want) {
		t.Errorf("it is in %q, want %q", rec.Groups, want)
	}
	for _, version := range []string{servers.ModernVersion, servers.LegacyVersion} {
		for _, target := range []wire.Target{{Name: "echo"}, {Group: "demo"}} {
			session := there.dial(t, target, version, nil)
			if got := call(t, session, "echo", map[string]any{"text": version}); got != version {
				t.Errorf("%s by %s: %q", target, version, got)
			}
		}
	}
	asked := there.dial(t, wire.Target{Name: "echo"}, servers.LegacyVersion, &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: "across"}, Model: "m", Role: "assistant"}, nil
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
	})
	if got := call(t, asked, "ask", map[string]any{"text": "x"}); got != "across decline" {
		t.Errorf("a tool that asks back: %q", got)
	}
	if err := r.Close(within(t)); err != nil || r.Err() != nil {
		t.Fatalf("close: %v, %v", err, r.Err())
	}
	eventually(t, "the name is gone elsewhere", func() bool { _, err := there.reg.Whereis("echo"); return err != nil })
}

func TestRunRefusesATakenNameFirst(t *testing.T) {
	here, there := onBus(t)
	here.run(t, "one", nil, "hand", "modern")
	eventually(t, "the name is known elsewhere", func() bool { _, err := there.reg.Whereis("one"); return err == nil })
	mark := filepath.Join(t.TempDir(), "started")
	_, err := Run(within(t), there.conn, there.reg, "one", []string{"sh", "-c", "echo > " + mark}, nil)
	taken, ok := errors.AsType[*registry.NameTakenError](err)
	if !ok || taken.Owner.Node != "here" || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatalf("run: %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command was started all the same")
	}
	if _, err := Run(within(t), there.conn, there.reg, "no name", self(t, "echo"), nil); !errors.Is(err, registry.ErrBadName) {
		t.Errorf("a bad name: %v", err)
	}
}

// What does not answer is never registered.
func TestRunRegistersOnlyWhatAnswers(t *testing.T) {
	here, _ := onBus(t)
	seen := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ev, err := range here.reg.Watch(ctx, nil) {
			if err != nil {
				return
			}
			if ev.Record.Name == "mute" {
				seen <- string(ev.Kind)
			}
		}
	}()
	_, err := Run(within(t), here.conn, here.reg, "mute", self(t, "hand", "silent"), &RunOptions{StartTimeout: 300 * time.Millisecond, Stdio: quick()})
	if !errors.Is(err, ErrStart) {
		t.Fatalf("run: %v", err)
	}
	cancel()
	<-watched
	if len(seen) > 0 {
		t.Errorf("it was %s", <-seen)
	}
}

// kill -9 of a child that is not started again: its bridge knows within milliseconds, and everybody else soon after; whoever waits is told why.
func TestKilledChildIsUnregisteredAtOnce(t *testing.T) {
	here, there := onBus(t)
	const rounds = 10
	var known, gone []time.Duration
	for range rounds {
		r := here.run(t, "victim", &RunOptions{Stdio: quick()}, "echo")
		begun, pending := make(chan struct{}, 1), make(chan error, 1)
		session := there.dial(t, wire.Target{Name: "victim"}, servers.ModernVersion, &mcp.ClientOptions{
			ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { begun <- struct{}{} },
		})
		go func() {
			params := &mcp.CallToolParams{Name: "block"}
			params.SetProgressToken("p")
			_, err := session.CallTool(within(t), params)
			pending <- err
		}()
		select {
		case <-begun:
		case <-within(t).Done():
			t.Fatal("the call does not arrive")
		}
		eventually(t, "the name is known elsewhere", func() bool { _, err := there.reg.Whereis("victim"); return err == nil })
		down, err := there.reg.Monitor(within(t), "victim")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(r.Backend().Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		select {
		case <-r.Backend().Done():
			known = append(known, time.Since(killed))
		case <-within(t).Done():
			t.Fatal("the bridge does not see it")
		}
		select {
		case <-down:
			gone = append(gone, time.Since(killed))
		case <-within(t).Done():
			t.Fatal("the name stays")
		}
		if err := <-pending; err == nil || !strings.Contains(err.Error(), "signal 9") {
			t.Errorf("the pending call ended with %v", err)
		}
		<-r.Done()
		if exit := exitError(t, r.Err()); exit.Signal != syscall.SIGKILL {
			t.Errorf("run ended with %+v", exit)
		}
	}
	slices.Sort(known)
	slices.Sort(gone)
	t.Logf("known to the bridge: median %s, worst %s; gone elsewhere: median %s, worst %s", known[rounds/2], known[rounds-1], gone[rounds/2], gone[rounds-1])
	// The median has room for a busy machine; the quick ones show that nothing is polled for or waited out.
	if known[rounds/4] > 10*time.Millisecond || known[rounds/2] > 50*time.Millisecond {
		t.Errorf("the bridge took %s to see it", known)
	}
	if gone[rounds/2] > 250*time.Millisecond {
		t.Errorf("it took %s until the name was gone", gone)
	}
}

// A frozen child holds up nobody but its own calls, and those end with their deadlines.
func TestFrozenChildDelaysOnlyItsOwn(t *testing.T) {
	here, there := onBus(t)
	r := here.run(t, "frozen", &RunOptions{Stdio: quick()}, "echo")
	modern := there.dial(t, wire.Target{Name: "frozen"}, servers.ModernVersion, nil)
	legacy := there.dial(t, wire.Target{Name: "frozen"}, servers.LegacyVersion, nil)
	if err := syscall.Kill(r.Backend().Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := modern.CallTool(ctx, &mcp.CallToolParams{Name: "pid"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call of a frozen child: %v", err)
	}
	if got := call(t, legacy, "echo", map[string]any{"text": "mine runs"}); got != "mine runs" {
		t.Errorf("a session with its own child: %q", got)
	}
	if _, err := here.reg.Whereis("frozen"); err != nil || r.Err() != nil {
		t.Errorf("the name: %v, %v", err, r.Err())
	}
	if err := syscall.Kill(r.Backend().Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := call(t, modern, "echo", map[string]any{"text": "thawed"}); got != "thawed" {
		t.Errorf("after it goes on: %q", got)
	}
}

// endSession ends a session behind its owner's back, as a verdict does.
func (p *peer) endSession(t testing.TB, session string) {
	t.Helper()
	lease, err := p.store.Get(within(t), "leases."+session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Delete(within(t), lease.Key, nil, lease.Revision); err != nil {
		t.Fatal(err)
	}
}

// A registry session that is lost is replaced; the child stays, and so does the instance.
func TestLostSessionIsReplaced(t *testing.T) {
	here, there := onBus(t)
	r := here.run(t, "stays", nil, "echo")
	before, pid := r.Record(), r.Backend().Pid()
	here.endSession(t, before.Session)
	eventually(t, "it is registered again", func() bool {
		rec, err := there.reg.Whereis("stays")
		return err == nil && rec.Session != before.Session && r.Record().Session == rec.Session
	})
	after, err := there.reg.Whereis("stays")
	if err != nil || after.Instance != before.Instance || after.Token <= before.Token {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	session := there.dial(t, wire.Target{Name: "stays"}, servers.ModernVersion, nil)
	if got := call(t, session, "pid", nil); got != strconv.Itoa(pid) {
		t.Errorf("it is served by %s, want %d", got, pid)
	}
}

// A name that went to somebody else meanwhile is not fought for.
func TestNameLostMeanwhileEndsTheRun(t *testing.T) {
	here, there := onBus(t)
	r := here.run(t, "mine", nil, "echo")
	heir, err := there.reg.NewSession(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	claimed := make(chan error, 1)
	go func() {
		_, err := heir.Register(within(t), "mine", &registry.RegisterOptions{Conflict: registry.Queue})
		claimed <- err
	}()
	eventually(t, "the heir stands by", func() bool {
		waiting, _, err := here.store.List(within(t), "standby.mine")
		return err == nil && len(waiting) > 0
	})
	here.endSession(t, r.Record().Session)
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Done():
	case <-within(t).Done():
		t.Fatal("it goes on")
	}
	if taken, ok := errors.AsType[*registry.NameTakenError](r.Err()); !ok || taken.Owner.Node != "there" && (taken.Next == nil || taken.Next.Node != "there") {
		t.Errorf("it ended with %v", r.Err())
	}
	if r.Backend().Err() == nil {
		t.Error("its child lives on")
	}
}

// A registry that is closed ends what was registered in it.
func TestClosedRegistryEndsTheRun(t *testing.T) {
	here, _ := onBus(t)
	r := here.run(t, "orphan", nil, "echo")
	if err := here.reg.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Done():
	case <-within(t).Done():
		t.Fatal("it goes on")
	}
	if !errors.Is(r.Err(), registry.ErrClosed) || r.Backend().Err() == nil {
		t.Errorf("it ended with %v, its child with %v", r.Err(), r.Backend().Err())
	}
}
