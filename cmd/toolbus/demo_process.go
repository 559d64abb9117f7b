package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// demoChild is a process of the demo: this binary again. It is told what to do by lines on its stdin and answers by lines on its stdout, and it
// ends when its stdin does, so that it cannot outlive the demo.
type demoChild struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan demoLine // closed at the end of its stdout
	log   string        // the file with its stderr
}

// demoLine is what a child says, one JSON object a line.
type demoLine struct {
	Connected bool          `json:"connected,omitempty"` // a server that waits for the word to claim its name
	Ready     bool          `json:"ready,omitempty"`
	URL       string        `json:"url,omitempty"`
	Instance  string        `json:"instance,omitempty"`
	Token     uint64        `json:"token,omitempty"`
	Took      time.Duration `json:"took,omitempty"`  // of the claim
	Taken     string        `json:"taken,omitempty"` // the claim was lost, and this instance has the name
	Holder    string        `json:"holder,omitempty"`
	Error     string        `json:"error,omitempty"`
	InUse     bool          `json:"inUse,omitempty"` // the error is that an address is in use
}

// startChild starts this binary with a hidden command and gives it its configuration as its first line.
func startChild(dir, name, command string, config any) (*demoChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := &demoChild{name: name, cmd: exec.Command(self, command), lines: make(chan demoLine, 16), log: log.Name()}
	c.cmd.Stderr = log
	c.cmd.SysProcAttr = ownGroup() // Ctrl-C is for the demo alone
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.lines)
		for scan := bufio.NewScanner(stdout); scan.Scan(); {
			var line demoLine
			if json.Unmarshal(scan.Bytes(), &line) == nil {
				c.lines <- line
			}
		}
	}()
	return c, c.tell(config)
}

// tell writes one line.
func (c *demoChild) tell(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.stdin.Write(append(line, '\n'))
	return err
}

var errInUse = errors.New("an address is in use")

// hear waits for the next line. An error that the child tells is an error.
func (c *demoChild) hear(ctx context.Context) (demoLine, error) {
	select {
	case line, ok := <-c.lines:
		switch {
		case !ok:
			return line, fmt.Errorf("%s (pid %d) ended without a word: %s", c.name, c.pid(), c.lastWords())
		case line.InUse:
			return line, fmt.Errorf("%s: %w", c.name, errInUse)
		case line.Error != "":
			return line, fmt.Errorf("%s: %s", c.name, line.Error)
		}
		return line, nil
	case <-ctx.Done():
		return demoLine{}, fmt.Errorf("%s (pid %d) says nothing: %w", c.name, c.pid(), context.Cause(ctx))
	}
}

func (c *demoChild) pid() int { return c.cmd.Process.Pid }

// kill is kill -9, and returns when the process is gone. The time is that just before the signal.
func (c *demoChild) kill() time.Time {
	at := time.Now()
	_ = c.cmd.Process.Kill() // fails only for a process that has ended
	_ = c.cmd.Wait()
	return at
}

// end closes the child's stdin, upon which it ends, and makes sure that it did.
func (c *demoChild) end() {
	if c.cmd.ProcessState != nil { // killed and waited for
		return
	}
	_ = c.stdin.Close()
	kill := time.AfterFunc(2*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	for range c.lines { // until its stdout ends
	}
	_ = c.cmd.Wait() // how a child ends that was told to is of no interest
}

// lastWords are the last lines of its stderr.
func (c *demoChild) lastWords() string {
	data, err := os.ReadFile(c.log)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if err != nil || lines[0] == "" {
		return "nothing on stderr"
	}
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// asChild is the other side: it reads the configuration and lets say speak. The process ends with its stdin, at once.
func asChild(stdin io.Reader, stdout io.Writer, config any) (say func(demoLine), hear func() error, err error) {
	lines := bufio.NewScanner(stdin)
	if !lines.Scan() {
		return nil, nil, errors.New("the demo runs this command; it is not for people")
	}
	if err := json.Unmarshal(lines.Bytes(), config); err != nil {
		return nil, nil, err
	}
	words := make(chan struct{}, 16)
	go func() {
		for lines.Scan() {
			words <- struct{}{}
		}
		os.Exit(0)
	}()
	enc := json.NewEncoder(stdout)
	return func(l demoLine) { _ = enc.Encode(l) }, func() error { <-words; return nil }, nil
}
