//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
)

func init() { programs["partyserver"], programs["partyclient"] = partyServer, partyClient }

// partyLog names the file in which a partyServer notes what is done to it.
const partyLog = "PARTY_LOG"

// partyServer is an MCP server on stdin that notes each call of its tool hang, and its end.
func partyServer() {
	note := func(what string) {
		f, err := os.OpenFile(os.Getenv(partyLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(f, what, os.Getpid()) // one write: others append too
		f.Close()
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "party", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "who"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return say(strconv.Itoa(os.Getpid())), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "hang"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		note("hangs")
		<-ctx.Done()
		note("ended")
		return nil, nil, ctx.Err()
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		os.Exit(1)
	}
}

// partyClient is a client in a process of its own: it starts a shim before the name, says the shim's pid, and calls hang when it is told to.
// Its arguments: URL NAME VERSION.
func partyClient() {
	cmd := exec.Command("toolbus", "-s", os.Args[1], "shim", os.Args[2])
	cmd.Stderr = os.Stderr
	session, err := mcp.NewClient(&mcp.Implementation{Name: "party", Version: "1"}, nil).
		Connect(context.Background(), &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: os.Args[3]})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: "who"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(cmd.Process.Pid, r.Content[0].(*mcp.TextContent).Text)
	bufio.NewScanner(os.Stdin).Scan()
	_, _ = session.CallTool(context.Background(), &mcp.CallToolParams{Name: "hang"})
	select {} // until it is killed
}

// party is what the tests of this file kill the parts of: a bus, and a server on it.
type party struct {
	t     *testing.T
	nodes []*program
	urls  []string
	log   string
	value string // the mark of all its processes
}

// newParty starts so many nodes. When the test ends, no process may be left.
func newParty(t *testing.T, nodes int) *party {
	t.Helper()
	dir := t.TempDir()
	p := &party{t: t, log: filepath.Join(dir, "log"), value: "party-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)}
	t.Setenv(mark, p.value)
	t.Setenv(partyLog, p.log)
	t.Cleanup(func() { gone(t, p.value) }) // runs last: start's own cleanups come after this in time, and so before it in order
	addrs, err := bus.FreeAddrs(nodes)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, addr := range addrs {
		name := "n" + strconv.Itoa(i+1)
		args := []string{"up", "--name", name, "--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, name), "--url-file", filepath.Join(dir, name+".url")}
		if nodes > 1 {
			args = append(args, "--cluster", addr, "--join", strings.Join(addrs, ","), "--secret-file", secret)
		}
		node := start(t, args...)
		go node.drain()
		p.nodes = append(p.nodes, node)
	}
	for i := range nodes {
		p.urls = append(p.urls, fileText(t, filepath.Join(dir, "n"+strconv.Itoa(i+1)+".url")))
	}
	return p
}

// bridge puts a server on the bus, over one of the nodes.
func (p *party) bridge(node int) *program {
	p.t.Helper()
	b := start(p.t, "-s", p.urls[node], "run", "party", "--", "partyserver")
	b.says(p.t, "party is on the bus")
	return b
}

// connect starts a shim over one of the nodes and connects an SDK client to it.
func (p *party) connect(node int, version string) (*mcp.ClientSession, *exec.Cmd) {
	p.t.Helper()
	cmd := exec.Command("toolbus", "-s", p.urls[node], "shim", "party")
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).
		Connect(ctx, &mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = session.Close() })
	return session, cmd
}

// notes are the pids of which a word was noted.
func (p *party) notes(word string) (pids []int) {
	data, _ := os.ReadFile(p.log)
	for line := range strings.Lines(string(data)) {
		if w, n, ok := strings.Cut(strings.TrimSpace(line), " "); ok && w == word {
			pid, err := strconv.Atoi(n)
			if err != nil {
				p.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// hang calls the tool that hangs and waits until it does. The channel gets the call's error.
func (p *party) hang(session *mcp.ClientSession) (pid int, done <-chan error) {
	p.t.Helper()
	before := len(p.notes("hangs"))
	ended := make(chan error, 1)
	go func() {
		_, err := session.CallTool(p.t.Context(), &mcp.CallToolParams{Name: "hang"})
		ended <- err
	}()
	waitFor(p.t, func() bool { return len(p.notes("hangs")) > before })
	return p.notes("hangs")[before], ended
}

// who calls the tool that says which process answers.
func (p *party) who(session *mcp.ClientSession) (int, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	r, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "who"})
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(r.Content[0].(*mcp.TextContent).Text)
}

// next is the next call, which has to work: at once, or, where a party has just gone, at one of the next tries.
func (p *party) next(session *mcp.ClientSession) (pid int) {
	p.t.Helper()
	var last error
	began := time.Now()
	for end := began.Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if pid, last = p.who(session); last == nil {
			p.t.Logf("the next call works after %v", time.Since(began).Round(time.Millisecond))
			return pid
		}
	}
	p.t.Fatalf("no call works any more: %v", last)
	return 0
}

// ends waits for the end of a call that a party's death ends, and notes how long that took.
func (p *party) ends(killed time.Time, done <-chan error) {
	p.t.Helper()
	select {
	case err := <-done:
		p.took("the call in flight ended", killed)
		if err == nil {
			p.t.Error("a call whose party was killed succeeded")
		} else {
			p.t.Logf("with: %v", err)
		}
	case <-time.After(patience):
		p.t.Fatal("the call hangs")
	}
}

// ample is how much longer than on a machine of its own anything may take here.
const ample = 20 * time.Second

func (p *party) took(what string, since time.Time) {
	p.t.Helper()
	took := time.Since(since)
	p.t.Logf("%s after %v", what, took.Round(time.Millisecond))
	if took > ample {
		p.t.Errorf("%s only after %v", what, took)
	}
}

// over waits until processes are gone.
func (p *party) over(what string, since time.Time, pids ...int) {
	p.t.Helper()
	waitFor(p.t, func() bool { return !living(pids...) })
	p.took(what+" is gone", since)
}

// noted waits until a call at a process has ended there: it was cancelled, or the process is gone.
func (p *party) noted(pid int, since time.Time) {
	p.t.Helper()
	waitFor(p.t, func() bool { return slices.Contains(p.notes("ended"), pid) || !living(pid) })
	p.took("the server knows", since)
}

// of is the party for a part of its test.
func (p *party) of(t *testing.T) *party {
	q := *p
	q.t = t
	return &q
}

// clientProcess is a partyClient.
type clientProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
}

// client starts one, and returns the pids of its shim and of the process that serves it.
func (p *party) client(version string) (c *clientProcess, shim, child int) {
	p.t.Helper()
	c = &clientProcess{t: p.t, cmd: exec.Command("partyclient", p.urls[0], "party", version)}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	c.in = in
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			c.kill()
		}
	})
	kill := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	if _, err := fmt.Fscan(out, &shim, &child); err != nil {
		p.t.Fatal(err)
	}
	return c, shim, child
}

func (c *clientProcess) tell(line string) { _, _ = c.in.Write([]byte(line + "\n")) } // it shows when nothing happens

func (c *clientProcess) kill() {
	_ = c.cmd.Process.Kill() // it may be dead
	_ = c.cmd.Wait()
}
