package bustest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Children are functions that run in processes of their own: the test binary runs itself. A child prints lines to out, which the test
// reads one by one; its arguments come from Child. When it returns the process exits, with 1 after an error. It also exits when the
// test process ends, whatever it does, so no child outlives a killed test.
type Children map[string]func(ctx context.Context, args []string, out io.Writer) error

const childEnv = "TOOLBUS_TEST_CHILD"

// Process is a running child. Its methods fail the test when they cannot do what they say.
type Process struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	done  chan struct{} // closed when the process has ended and was reaped
	once  sync.Once
}

// Child starts the child called name, one of those given to Main (or "node", see Nodes). It is killed with the test.
func Child(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// No test runs there, whatever the flags: Main looks at the variable first.
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+name+" "+string(raw))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, name: name, cmd: cmd, stdin: stdin, lines: make(chan string, 1024), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		scan := bufio.NewScanner(stdout)
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			p.lines <- scan.Text()
		}
		close(p.lines)
		_ = cmd.Wait() // the exit status is in ProcessState
	}()
	t.Cleanup(p.Kill)
	return p
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Line waits for the next line of the child.
func (p *Process) Line() string {
	p.t.Helper()
	timer := time.NewTimer(Deadline)
	defer timer.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("child %s ended without the line that was waited for", p.name)
		}
		return line
	case <-timer.C:
		p.t.Fatalf("child %s printed nothing within %s", p.name, Deadline)
	}
	return ""
}

// Lines is what the child prints, for tests that have to wait for other things too. It is closed with the child.
func (p *Process) Lines() <-chan string { return p.lines }

// JSON waits for the next line and reads it into v.
func (p *Process) JSON(v any) {
	p.t.Helper()
	line := p.Line()
	if err := json.Unmarshal([]byte(line), v); err != nil {
		p.t.Fatalf("child %s printed %q: %v", p.name, line, err)
	}
}

// Send writes a line to the child's standard input, which it reads with Input.
func (p *Process) Send(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("child %s: %v", p.name, err)
	}
}

// Signal sends a signal, such as syscall.SIGSTOP.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("child %s: %v", p.name, err)
	}
}

// Kill is kill -9, and waits until the process is gone. Killing twice is fine.
func (p *Process) Kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill() // an error means that it has ended already
		for range p.lines {      // nobody reads them any more; the reader must not hang
		}
		<-p.done
	})
}

// Wait waits until the process has ended by itself and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	timer := time.NewTimer(Deadline)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.t.Fatalf("child %s did not end within %s", p.name, Deadline)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Input are the lines that the test sends to this child, see Send. The channel is not closed: with the end of the input the process exits.
func Input() <-chan string { return childInput }

var childInput = make(chan string, 16)

// runChild does not return in a child process.
func runChild(children Children) {
	spec, ok := os.LookupEnv(childEnv)
	if !ok {
		return
	}
	os.Unsetenv(childEnv) // for what the child may start itself
	name, raw, _ := strings.Cut(spec, " ")
	var args []string
	if err := json.Unmarshal([]byte(raw), &args); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(2)
	}
	run := children[name]
	if run == nil {
		run = builtin[name]
	}
	if run == nil {
		fmt.Fprintf(os.Stderr, "child: no function %q was given to bustest.Main\n", name)
		os.Exit(2)
	}
	go func() {
		scan := bufio.NewScanner(os.Stdin)
		for scan.Scan() {
			childInput <- scan.Text()
		}
		os.Exit(3) // the test is gone
	}()
	if err := run(context.Background(), args, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "child %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}
