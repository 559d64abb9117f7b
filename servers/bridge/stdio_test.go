//go:build unix

//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package bridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// quick has short graces, and a probe that no test waits long for.
func quick() *StdioOptions {
	return &StdioOptions{
		Child:        ChildOptions{EOFGrace: time.Second, TermGrace: time.Second},
		ProbeTimeout: 200 * time.Millisecond, StartTimeout: patience, Restart: Never,
	}
}

func startStdio(t testing.TB, opts *StdioOptions, fake string, args ...string) *Stdio {
	t.Helper()
	s, err := StartStdio(within(t), self(t, fake, args...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(within(t)); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// bare is a request without a session, as a client of that era sends it.
func bare(id int, method string, of servers.Era, params string) []byte {
	if of == servers.Modern {
		meta := `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
		if params != "{}" {
			meta += ","
		}
		params = meta + params[1:]
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params)
}

func TestStartAsksBothEras(t *testing.T) {
	slow := quick()
	slow.Child.Env = []string{"SEEN=" + filepath.Join(t.TempDir(), "seen")}
	unhurried := quick()
	unhurried.ProbeTimeout = patience
	for _, test := range []struct {
		name    string
		command []string
		opts    *StdioOptions
		era     servers.Era
		version string
		server  string
		groups  []string
	}{
		{"both eras", self(t, "echo"), unhurried, servers.Modern, servers.ModernVersion, "echo", []string{"tools", "prompts"}},
		{"legacy by the SDK", self(t, "echo", "2025-06-18"), unhurried, servers.Legacy, "2025-06-18", "echo", []string{"tools", "prompts"}},
		{"modern only", self(t, "hand", "modern"), unhurried, servers.Modern, servers.ModernVersion, "modern", []string{"resources"}},
		{"refuses the question", self(t, "hand", "plain"), unhurried, servers.Legacy, "2024-11-05", "plain", []string{"tools"}},
		{"does not answer it", self(t, "hand", "ignore"), quick(), servers.Legacy, "2024-11-05", "ignore", []string{"tools"}},
		{"dies of it", self(t, "hand", "crash"), unhurried, servers.Legacy, "2024-11-05", "crash", []string{"tools"}},
		{"is spoilt by it", self(t, "hand", "spoilt"), unhurried, servers.Legacy, "2024-11-05", "spoilt", []string{"tools"}},
		{"answers it late", self(t, "hand", "slow"), slow, servers.Modern, servers.ModernVersion, "slow", []string{"resources"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startStdio(t, test.opts, test.command[1], test.command[2:]...)
			info := s.Info()
			if info.Era != test.era || info.Version != test.version || !strings.Contains(string(info.Server), strconv.Quote(test.server)) {
				t.Errorf("it is %s %s %s", info.Era, info.Version, info.Server)
			}
			if got := info.Groups(); !slices.Equal(got, test.groups) {
				t.Errorf("its groups are %q, want %q", got, test.groups)
			}
			p := s.Shared()
			if err := p.Write(within(t), bare(1, "tools/list", test.era, `{}`)); err != nil {
				t.Fatal(err)
			}
			if got := read(t, p); !strings.Contains(got, `"id":1`) || !strings.Contains(got, `"result"`) {
				t.Errorf("a request without a session: %s", got)
			}
		})
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	for _, test := range []struct {
		how, step string
		want      []string
		exited    bool
	}{
		{"silent", "initialize", []string{"no answer within 700ms", "waiting for a licence key"}, false},
		{"broke", "initialize", []string{"exited with status 9", "no TOKEN in the environment"}, true},
		{"refuse", "initialize", []string{"refused", "no licence", "licence expired"}, false},
	} {
		opts := quick()
		if test.how == "silent" {
			opts.StartTimeout = 700 * time.Millisecond
		}
		s, err := StartStdio(within(t), self(t, "hand", test.how), opts)
		if s != nil || !errors.Is(err, ErrStart) || errors.Is(err, ErrExited) != test.exited {
			t.Fatalf("%s: %v", test.how, err)
		}
		if failed, _ := errors.AsType[*StartError](err); failed.Step != test.step {
			t.Errorf("%s: the step was %q, want %q", test.how, failed.Step, test.step)
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", test.how, err, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartStdio(ctx, self(t, "echo"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start: %v", err)
	}
}

// Each legacy client has a process of its own, and the process's questions reach that client.
func TestSessionsHaveTheirOwnChild(t *testing.T) {
	s := startStdio(t, nil, "echo")
	pids := map[string]bool{strconv.Itoa(s.Pid()): true}
	var sessions []*mcp.ClientSession
	for _, name := range []string{"ann", "bob"} {
		p, err := s.Open(within(t))
		if err != nil {
			t.Fatal(err)
		}
		session := connect(t, p, servers.LegacyVersion, &mcp.ClientOptions{
			CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
				asked := req.Params.Messages[0].Content.(*mcp.TextContent).Text
				return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: name + " heard " + asked}, Model: "m", Role: "assistant"}, nil
			},
			ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				return &mcp.ElicitResult{Action: "accept", Content: map[string]any{}}, nil
			},
		})
		pids[call(t, session, "pid", nil)] = true
		if got, want := call(t, session, "ask", map[string]any{"text": "hello"}), name+" heard hello accept"; got != want {
			t.Errorf("it said %q, want %q", got, want)
		}
		sessions = append(sessions, session)
	}
	if len(pids) != 3 || s.Sessions() != 2 {
		t.Fatalf("%d processes and %d sessions for two clients", len(pids), s.Sessions())
	}
	sessions[0].Close()
	eventually(t, "the child of an ended session is gone", func() bool { return s.Sessions() == 1 })
	if got := call(t, sessions[1], "echo", map[string]any{"text": "still here"}); got != "still here" {
		t.Errorf("the other session: %q", got)
	}
	if s.Err() != nil {
		t.Errorf("the first child ended: %v", s.Err())
	}
}

func TestSessionsAreLimited(t *testing.T) {
	opts := quick()
	opts.MaxSessions = 2
	s := startStdio(t, opts, "echo")
	first, err := s.Open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(within(t)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Open(within(t))
	if !errors.Is(err, ErrBusy) || !errors.Is(err, wire.ErrBusy) {
		t.Fatalf("the third session: %v", err)
	}
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Max != 2 {
		t.Errorf("the third session: %+v", busy)
	}
	first.Close()
	eventually(t, "there is room again", func() bool {
		_, err := s.Open(within(t))
		return err == nil
	})
}

// Whoever uses the shared child next does not get the answers to the one before.
func TestSharedIsHandedOn(t *testing.T) {
	s := startStdio(t, nil, "echo", servers.LegacyVersion)
	old := s.Shared()
	if err := old.Write(within(t), []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"block","arguments":{}}}`)); err != nil {
		t.Fatal(err)
	}
	old.Close()
	if _, err := old.Read(within(t)); err == nil {
		t.Fatal("a closed pipe reads")
	}
	next := s.Shared()
	for _, msg := range []string{
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, // as if the first user had: it is answered now
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"<mine>"}}}`,
	} {
		// By the child itself, past the ids of the mux, for the first.
		var err error
		if strings.Contains(msg, "cancelled") {
			err = s.first.Write(within(t), []byte(msg))
		} else {
			err = next.Write(within(t), []byte(msg))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, next); !strings.Contains(got, `"id":1`) || !strings.Contains(got, "mine") {
		t.Errorf("the next user read %s", got)
	}
}

func TestFirstChildsEndIsSeen(t *testing.T) {
	s := startStdio(t, quick(), "echo")
	p := s.Shared()
	if err := p.Write(within(t), bare(1, "tools/call", servers.Modern, `{"name":"block","arguments":{}}`)); err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-within(t).Done():
		t.Fatal("its end is not seen")
	}
	if exit := exitError(t, s.Err()); exit.Signal != 9 {
		t.Errorf("it ended with %+v", exit)
	}
	_, err = p.Read(within(t))
	exitError(t, err)
	_, err = s.Shared().Read(within(t))
	exitError(t, err)
}
