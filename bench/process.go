package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one process of a lab. It is told what to do by lines of JSON on its stdin, one at a time, and answers each with a line on its stdout. It ends when
// its stdin does, so it cannot outlive the lab.
type Process struct {
	Name string

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan []byte // closed at the end of its stdout
	asking sync.Mutex
	stderr tail

	mu     sync.Mutex
	killed bool
}

// startProcess starts a command.
func startProcess(name string, command []string) (*Process, error) {
	p := &Process{Name: name, cmd: exec.Command(command[0], command[1:]...), lines: make(chan []byte, 1)}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = ownGroup() // Ctrl-C is for the program alone
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		lines := bufio.NewReaderSize(stdout, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			p.lines <- line
		}
	}()
	return p, nil
}

// Ask sends a request and waits for its answer, which it reads into answer unless that is nil. An answer with a member "error" is an error.
func (p *Process) Ask(ctx context.Context, request, answer any) error {
	p.asking.Lock()
	defer p.asking.Unlock()
	if err := p.tell(request); err != nil {
		return err
	}
	return p.hear(ctx, answer)
}

func (p *Process) tell(request any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %w (%s)", p.Name, err, &p.stderr)
	}
	return nil
}

func (p *Process) hear(ctx context.Context, answer any) error {
	select {
	case line, ok := <-p.lines:
		if !ok {
			return fmt.Errorf("%s ended without a word: %s", p.Name, &p.stderr)
		}
		var failed struct {
			Error string `json:"error"`
		}
		if err := json.Unmarshal(line, &failed); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if failed.Error != "" {
			return fmt.Errorf("%s: %s", p.Name, failed.Error)
		}
		if answer == nil {
			return nil
		}
		return json.Unmarshal(line, answer)
	case <-ctx.Done():
		return fmt.Errorf("%s says nothing: %w", p.Name, context.Cause(ctx))
	}
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill is kill -9. It returns the time just before the signal, and waits until the process is gone.
func (p *Process) Kill() (at int64) {
	at = mono()
	_ = p.cmd.Process.Kill() // fails only for a process that has ended
	p.wait()
	return at
}

// Signal sends a signal and returns the time just before.
func (p *Process) Signal(s syscall.Signal) (at int64, err error) {
	at = mono()
	return at, p.cmd.Process.Signal(s)
}

// end closes the process's stdin, upon which it ends, and kills it if it does not.
func (p *Process) end() {
	_ = p.stdin.Close() // an error means that it is closed already
	kill := time.AfterFunc(3*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	p.wait()
}

func (p *Process) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return
	}
	p.killed = true
	for range p.lines { // until its stdout ends
	}
	_ = p.cmd.Wait() // how it ends is of no interest
}

// tail keeps the last bytes of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-2000):]
	return len(p), nil
}

// String is what is kept, on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := strings.TrimSpace(string(t.data)); text != "" {
		return strings.ReplaceAll(text, "\n", " | ")
	}
	return "nothing on stderr"
}

// Serve is the other side: it reads requests from in, one a line, and writes what do returns for each to out. It returns when in ends.
func Serve(ctx context.Context, in io.Reader, out io.Writer, do func(ctx context.Context, request json.RawMessage) (any, error)) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	enc := json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer, err := do(ctx, line)
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if answer == nil {
			answer = struct{}{}
		}
		if err := enc.Encode(answer); err != nil {
			return err
		}
	}
}
