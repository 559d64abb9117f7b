package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of ChildOptions.
const (
	defaultMaxFrame     = 64 << 20
	defaultWriteTimeout = 10 * time.Second
	defaultStderrLines  = 20
	defaultEOFGrace     = 2 * time.Second
	defaultTermGrace    = 3 * time.Second
)

// ChildOptions says how a child is run. The zero value, and nil, are usable.
type ChildOptions struct {
	Env []string // KEY=VALUE, added to this process's environment; the later of two wins
	Dir string   // its working directory; "": this process's

	MaxFrame     int           // the longest message that it may send, in bytes; 0: 64 MiB
	WriteTimeout time.Duration // how long a Write waits for a child that does not read; 0: 10 s
	StderrLines  int           // how many of the last lines on its stderr are kept; 0: 20
	Stderr       io.Writer     // gets a copy of its stderr, from one goroutine a child; nil: none

	// Close ends the input, waits EOFGrace (0: 2 s), sends SIGTERM to the process group, waits TermGrace (0: 3 s), sends SIGKILL.
	EOFGrace, TermGrace time.Duration

	// Guard is the command that GuardMain answers, up to where its own arguments start; nil: this executable with the word guard.
	Guard []string

	Logger *slog.Logger // nil: nothing is logged

	lines func(pid int, line string) // gets each line on stderr, cleaned
	spoke func()                     // is called when it has said something, or has ended: at least once
}

func (o *ChildOptions) withDefaults() (*ChildOptions, error) {
	if o == nil {
		o = &ChildOptions{}
	}
	c := *o
	if c.MaxFrame <= 0 {
		c.MaxFrame = defaultMaxFrame
	}
	if c.StderrLines <= 0 {
		c.StderrLines = defaultStderrLines
	}
	for d, def := range map[*time.Duration]time.Duration{
		&c.WriteTimeout: defaultWriteTimeout, &c.EOFGrace: defaultEOFGrace, &c.TermGrace: defaultTermGrace,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Guard) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		c.Guard = []string{self, "guard"}
	}
	return &c, nil
}

// Child is one MCP server process that speaks over its stdin and stdout, as a wire.Pipe. It runs under a guard (GuardMain): it ends with
// this process, however that ends.
//
// Read and Write follow wire.Pipe. What a child prints on stdout that is no JSON-RPC message is logged, counted and skipped; batches are
// taken apart. Messages that the child wrote before it ended are still read; then Read returns an *ExitError.
type Child struct {
	command string
	opts    *ChildOptions
	log     *slog.Logger
	started time.Time
	p       *process
	stderr  *tail

	in     stdin
	msgs   chan json.RawMessage // closed when stdout has ended
	noise  atomic.Int64
	closed chan struct{} // by Close
	dead   chan struct{} // the process has ended; err is set
	err    *ExitError
	gone   chan struct{} // its guard too, and every goroutine of ours
	asked  chan struct{} // by end
	ending sync.Once
	once   sync.Once
	wg     sync.WaitGroup
}

// StartChild starts command, a program and its arguments, and returns when it runs; it knows nothing yet of what the program says. ctx
// covers the start only: the child lives until Close or until it ends itself. The error is a *StartError. The caller must Close the
// child, also after it has ended, and may Wait for its end.
func StartChild(ctx context.Context, command []string, opts *ChildOptions) (*Child, error) {
	if len(command) == 0 || command[0] == "" {
		return nil, &StartError{Step: "start", Err: errors.New("no command")}
	}
	line := strings.Join(command, " ")
	o, err := opts.withDefaults()
	if err != nil {
		return nil, &StartError{Command: line, Step: "start", Err: err}
	}
	p, err := startProcess(ctx, command, o)
	if err != nil {
		return nil, &StartError{Command: line, Step: "start", Err: err}
	}
	c := &Child{
		command: line, opts: o, started: time.Now(), p: p, stderr: newTail(o.StderrLines),
		log:  o.Logger.With("command", line, "pid", p.pid),
		in:   stdin{f: p.stdin, turn: make(chan struct{}, 1), timeout: o.WriteTimeout},
		msgs: make(chan json.RawMessage, childBuffer), closed: make(chan struct{}), asked: make(chan struct{}), dead: make(chan struct{}), gone: make(chan struct{}),
	}
	stderrDone := make(chan struct{})
	c.wg.Go(func() {
		defer close(stderrDone)
		defer p.stderr.Close()
		var each func(string)
		if o.lines != nil {
			each = func(line string) { o.lines(p.pid, line) }
		}
		c.stderr.readFrom(&pipeReader{f: p.stderr}, o.Stderr, each)
	})
	c.wg.Go(c.readFrames)
	c.wg.Go(c.endWhenAsked)
	c.wg.Go(func() { c.watch(stderrDone) })
	go func() {
		c.wg.Wait()
		close(c.gone)
	}()
	c.log.Debug("child started")
	return c, nil
}

// childBuffer lets the child run ahead of the reader a little.
const childBuffer = 16

// watch waits for the end of the process and makes it known.
func (c *Child) watch(stderrDone <-chan struct{}) {
	e := c.p.wait()
	after := time.Since(c.started)
	// Whatever it wrote is in the pipes by now: take that, and no more, as somebody else may hold their other ends.
	expire(c.p.stderr)
	expire(c.p.stdout)
	<-stderrDone
	c.err = &ExitError{Command: c.command, Status: e.status, Signal: e.signal, Cause: e.cause, Stderr: c.stderr.last(), After: after}
	close(c.dead)
	if c.opts.spoke != nil {
		c.opts.spoke()
	}
	c.log.Debug("child ended", "how", c.err.How(), "after", after)
	c.p.stdin.Close()
	c.p.reap()
}

// Pid is the process's id, and its process group's.
func (c *Child) Pid() int { return c.p.pid }

// Noise is how many lines on stdout were no messages so far.
func (c *Child) Noise() int64 { return c.noise.Load() }

// Stderr returns a copy of the last lines on its stderr, the newest at the end.
func (c *Child) Stderr() []string { return c.stderr.last() }

// Done is closed when the process has ended, a moment after it did. Something of its process group may live a little longer: see Wait.
func (c *Child) Done() <-chan struct{} { return c.dead }

// Err is nil while the process lives, and then always the same *ExitError, also for a child that was closed and for status 0.
func (c *Child) Err() error {
	select {
	case <-c.dead:
		return c.err
	default:
		return nil
	}
}

// Close starts the ending: the end of its input, then SIGTERM, then SIGKILL to its process group, each when the one before did not help in
// its time (see ChildOptions). Read and Write return at once; Close does not wait. It may be called many times and always returns nil.
func (c *Child) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.end()
	return nil
}

// Wait returns when the child, its guard and what was left of its process group are gone, or with ctx's error. It does not end the child.
func (c *Child) Wait(ctx context.Context) error {
	select {
	case <-c.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end has endWhenAsked begin.
func (c *Child) end() { c.ending.Do(func() { close(c.asked) }) }

// endWhenAsked walks through the ending of a child that has not ended by itself. Each step is bounded.
func (c *Child) endWhenAsked() {
	select {
	case <-c.asked:
	case <-c.dead:
		return
	}
	within := func(d time.Duration) bool {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-c.dead:
			return true
		case <-t.C:
			return false
		}
	}
	c.p.stdin.Close()
	if within(c.opts.EOFGrace) {
		return
	}
	c.log.Debug("child stays after the end of its input: SIGTERM")
	if c.p.term() == nil && within(c.opts.TermGrace) {
		return
	}
	c.log.Info("child stays after SIGTERM: SIGKILL")
	if c.p.kill() == nil && within(killPatience) {
		return
	}
	c.log.Warn("child stays, its guard does not answer: killing both")
	_ = c.p.force()
}

// killPatience is how long a guard has for a SIGKILL and the word that it worked.
const killPatience = 2 * time.Second
