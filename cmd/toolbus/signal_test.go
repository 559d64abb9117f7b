package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
)

// mark is a variable that all processes of one test have, by which they are found.
const mark = "TOOLBUS_TEST_MARK"

// program is a toolbus of ours in its own process.
type program struct {
	*exec.Cmd
	out    text
	errors io.Reader
}

// text is what it has written so far.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// start starts it, with nothing of this user's environment that counts; it is killed with the test.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command("toolbus", args...)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NATS_") && !strings.HasPrefix(v, "TOOLBUS_") || strings.HasPrefix(v, mark) {
			p.Env = append(p.Env, v)
		}
	}
	p.Env = append(p.Env, "XDG_CONFIG_HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir())
	p.Stdout = &p.out
	var err error
	if p.errors, err = p.StderrPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// drain reads its stderr to the end.
func (p *program) drain() { _, _ = io.Copy(io.Discard, p.errors) }

// says reads its stderr until a line has the text, and then goes on reading.
func (p *program) says(t *testing.T, text string) string {
	t.Helper()
	kill := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	defer kill.Stop()
	scan := bufio.NewScanner(p.errors)
	var seen []string
	for scan.Scan() {
		line := scan.Text()
		seen = append(seen, line)
		if strings.Contains(line, text) {
			go func() { // what follows must not block it
				for scan.Scan() {
				}
			}()
			return line
		}
	}
	t.Fatalf("it did not say %q but %q", text, seen)
	return ""
}

// end waits for it and returns its exit code.
func (p *program) end(t *testing.T) int {
	t.Helper()
	kill := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	defer kill.Stop()
	return exitCode(p.Wait())
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		exit   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		p := start(t, "up", "--listen", "127.0.0.1:0", "--dir", t.TempDir())
		p.says(t, "is up at")
		if err := p.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		if got := p.end(t); got != c.exit {
			t.Errorf("%s: exit code %d, not %d", c.signal, got, c.exit)
		}
	}
}

// A signal during the wait for other nodes ends the wait; before it, those who are missing were named.
func TestFirstStartNamesTheMissing(t *testing.T) {
	addrs, err := bus.FreeAddrs(3)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "up", "--name", "n1", "--listen", "127.0.0.1:0", "--dir", t.TempDir(), "--cluster", addrs[0], "--join", strings.Join(addrs, ","), "--secret-file", secret)
	line := p.says(t, "waiting for")
	if !strings.Contains(line, addrs[1]) || !strings.Contains(line, addrs[2]) || strings.Contains(line, addrs[0]) {
		t.Errorf("it says %q; %s and %s are missing", line, addrs[1], addrs[2])
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if got := p.end(t); got != 130 {
		t.Errorf("exit code %d, not 130", got)
	}
}
