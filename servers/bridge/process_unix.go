//go:build unix

package bridge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// guardPatience is how long a guard may take for its own work before it counts as frozen and is killed.
const guardPatience = 5 * time.Second

// process is a child under its guard, and the bridge's ends of its pipes.
type process struct {
	pid    int // the child's, and its process group's
	grace  time.Duration
	stdin  *os.File
	stdout *os.File
	stderr *os.File

	guard  *exec.Cmd
	life   *os.File // the guard lives as long as this is open, and a little longer
	status *os.File
	lines  *bufio.Reader
}

// startProcess starts the guard and waits until it has started the command, or says that it cannot. ctx covers the start.
func startProcess(ctx context.Context, command []string, opts *ChildOptions) (_ *process, err error) {
	var theirs, ours []*os.File
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	inR, inW := pipe()
	outR, outW := pipe()
	errR, errW := pipe()
	lifeR, lifeW := pipe()
	statusR, statusW := pipe()
	theirs = []*os.File{inR, outW, errW, lifeR, statusW}
	ours = []*os.File{inW, outR, errR, lifeW, statusR}
	if err != nil {
		return nil, fmt.Errorf("bridge: pipe: %w", err)
	}

	args := append([]string{"--grace=" + opts.TermGrace.String(), "--"}, command...)
	args = append(append([]string(nil), opts.Guard[1:]...), args...)
	guard := exec.Command(opts.Guard[0], args...)
	guard.Stdin, guard.Stdout, guard.Stderr = inR, outW, errW
	guard.ExtraFiles = []*os.File{guardLife - 3: lifeR, guardStatus - 3: statusW}
	guard.Env, guard.Dir = append(os.Environ(), opts.Env...), opts.Dir
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal's signal reaches it
	if err = guard.Start(); err != nil {
		return nil, fmt.Errorf("bridge: guard: %w", err)
	}
	closeAll(theirs)
	theirs = nil

	p := &process{grace: opts.TermGrace, stdin: inW, stdout: outR, stderr: errR, guard: guard, life: lifeW, status: statusR, lines: bufio.NewReader(statusR)}
	stop := context.AfterFunc(ctx, func() { statusR.SetReadDeadline(past) })
	first, err := p.next()
	if !stop() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	if err == nil && first.pid == 0 {
		err = errors.New(first.fail)
	}
	if err != nil {
		// The guard ends when its pipe does, with whatever it has started.
		closeAll(ours)
		frozen := time.AfterFunc(opts.TermGrace+guardPatience, func() { _ = guard.Process.Kill() })
		defer frozen.Stop()
		_ = guard.Wait()
		return nil, err
	}
	statusR.SetReadDeadline(time.Time{})
	p.pid = first.pid
	return p, nil
}

func (p *process) next() (report, error) {
	line, err := p.lines.ReadString('\n')
	if err != nil {
		return report{}, err
	}
	return parseReport(line)
}

// wait returns when the child has ended, and says how.
func (p *process) wait() exit {
	r, err := p.next()
	if err == nil && r.ended != nil {
		return *r.ended
	}
	// The guard is gone without a word: somebody killed it. On Linux the child has died of that; its group has not.
	_ = p.force()
	return exit{status: -1, cause: "was lost with its guard"}
}

// reap returns when the guard is gone too, and with it what was left of the child's group.
func (p *process) reap() {
	frozen := time.AfterFunc(p.grace+guardPatience, func() { _ = p.guard.Process.Kill() })
	defer frozen.Stop()
	_, _ = io.Copy(io.Discard, p.lines)
	p.life.Close()
	p.status.Close()
	_ = p.guard.Wait()
}

// term asks the guard to end the group, kill to end it for sure.
func (p *process) term() error { return p.order(orderTerm) }
func (p *process) kill() error { return p.order(orderKill) }

func (p *process) order(word string) error {
	p.life.SetWriteDeadline(time.Now().Add(time.Second)) // a frozen guard reads nothing
	_, err := fmt.Fprintln(p.life, word)
	return err
}

// force is the way past a guard that does nothing.
func (p *process) force() error {
	err := syscall.Kill(-p.pid, syscall.SIGKILL)
	_ = p.guard.Process.Kill()
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// expire makes a pending read of a pipe end, and every later one of pipeReader take only what is there now.
func expire(f *os.File) { f.SetReadDeadline(past) }

// pipeReader reads the output of a child. After expire it reads what is in the pipe and then reports io.EOF, even where somebody else
// still holds the other end: what the dead child has written is in the pipe by then.
type pipeReader struct {
	f    *os.File
	dead bool
}

func (r *pipeReader) Read(b []byte) (int, error) {
	if !r.dead {
		n, err := r.f.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		r.dead = true
		r.f.SetReadDeadline(time.Time{})
	}
	raw, err := r.f.SyscallConn()
	if err != nil {
		return 0, io.EOF
	}
	n, rerr := 0, error(nil)
	if err := raw.Read(func(fd uintptr) bool {
		for {
			if n, rerr = syscall.Read(int(fd), b); rerr != syscall.EINTR {
				return true
			}
		}
	}); err != nil || rerr != nil || n <= 0 {
		return 0, io.EOF
	}
	return n, nil
}
