//go:build linux

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

const childEnv = "TOOLBUS_FAULTS_CHILD"

// Main runs a test binary: as a node or a client where the environment says so, else its tests. A package that uses the harness calls it from TestMain.
func Main(m *testing.M) {
	text, ok := os.LookupEnv(childEnv)
	if !ok {
		os.Exit(m.Run())
	}
	var start childStart
	err := json.Unmarshal([]byte(text), &start)
	if err == nil {
		ctx, cancel := context.WithCancel(context.Background())
		switch {
		case start.Node != nil:
			err = runNode(ctx, start.Node, newTalk())
		case start.Client != nil:
			err = runClient(ctx, start.Client, newTalk())
		}
		cancel()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childStart tells a child what it is.
type childStart struct {
	Node   *NodeConfig   `json:",omitempty"`
	Client *ClientConfig `json:",omitempty"`
}

// order is one line from the harness to a child.
type order struct {
	Do   string        `json:"do"`
	Step time.Duration `json:"step,omitempty"`
}

// talk is a child's side of the conversation.
type talk struct {
	orders chan order
	mu     sync.Mutex
}

func newTalk() *talk {
	t := &talk{orders: make(chan order, 16)}
	go func() { // until the process ends
		scan := bufio.NewScanner(os.Stdin)
		for scan.Scan() {
			var o order
			if json.Unmarshal(scan.Bytes(), &o) == nil {
				t.orders <- o
			}
		}
		os.Exit(3) // the harness is gone
	}()
	return t
}

// say prints one line to the harness.
func (t *talk) say(v any) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(v)
}

// Process is a child of the harness.
type Process struct {
	Name string // c1, n2: the same at each start
	ID   string // c1.3: this start

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte
	done  chan struct{}
	tail  *tail
}

// startProcess runs the test binary as a child. Its stderr is kept, the newest part of it.
func startProcess(name, id string, start childStart) (*Process, error) {
	text, err := json.Marshal(start)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, ID: id, lines: make(chan []byte, 64), done: make(chan struct{}), tail: &tail{}}
	p.cmd = exec.Command(exe, "-test.run=^$")
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text), "GOMAXPROCS=2")
	p.cmd.Stderr = p.tail
	if os.Getenv("TOOLBUS_FAULTS_LOG") != "" {
		p.cmd.Stderr = os.Stderr
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 4<<20)
		for scan.Scan() {
			p.lines <- append([]byte(nil), scan.Bytes()...)
		}
		close(p.lines)
		_ = p.cmd.Wait() // the exit status is in ProcessState
		close(p.done)
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Order sends the child an order.
func (p *Process) Order(do string) error { return json.NewEncoder(p.in).Encode(order{Do: do}) }

// Answer waits for the child's next line.
func (p *Process) Answer(ctx context.Context, v any) error {
	select {
	case line, ok := <-p.lines:
		if !ok {
			return fmt.Errorf("%s has ended: %s", p.ID, p.tail)
		}
		return json.Unmarshal(line, v)
	case <-ctx.Done():
		return fmt.Errorf("%s says nothing: %w; %s", p.ID, ctx.Err(), p.tail)
	}
}

// Ask sends an order and waits for the answer.
func (p *Process) Ask(ctx context.Context, do string, v any) error {
	if err := p.Order(do); err != nil {
		return fmt.Errorf("%s: %w", p.ID, err)
	}
	return p.Answer(ctx, v)
}

// Signal sends a signal.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill is kill -9, and waits until the process is gone. Killing twice is fine.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	for range p.lines {      // nobody reads them any more; the reader must not hang
	}
	<-p.done
}

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.done }

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if len(t.data) > tailBytes {
		t.data = append([]byte(nil), t.data[len(t.data)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
