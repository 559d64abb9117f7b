//go:build unix

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// lockedChild is the command of a lock, under a guard as the children of bridges are: the guard holds a pipe to this process, and ends the
// command's process group when that does.
type lockedChild struct {
	guard   *exec.Cmd
	group   int
	life    *os.File // orders to the guard, a word a line
	ended   chan childStatus
	signals chan os.Signal // that are passed on; SIGINT and SIGTERM come as the end of a context
}

// startLocked starts a command on this process's own stdin, stdout and stderr. It is in a terminal session of its own, where no signal of the
// terminal reaches it: those that are meant for it are passed on.
func (e *env) startLocked(command []string, grace time.Duration, env []string) (*lockedChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	lifeR, lifeW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer lifeR.Close()
	statusR, statusW, err := os.Pipe()
	if err != nil {
		lifeW.Close()
		return nil, err
	}
	guard := exec.Command(self, append([]string{"guard", "--grace=" + grace.String(), "--"}, command...)...)
	guard.Stdin, guard.Stdout, guard.Stderr = e.stdin, e.stdout, e.stderr
	guard.ExtraFiles = []*os.File{lifeR, statusW} // as 3 and 4, where it looks for them
	guard.Env = childEnv(env)
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = guard.Start()
	statusW.Close()
	if err != nil {
		lifeW.Close()
		statusR.Close()
		return nil, cannotRun(command[0], err.Error())
	}
	c := &lockedChild{guard: guard, life: lifeW, ended: make(chan childStatus, 1), signals: make(chan os.Signal, 8)}
	first, err := bufio.NewReader(statusR).ReadString('\n')
	if n, _ := fmt.Sscanf(first, "started %d", &c.group); n != 1 || c.group <= 0 {
		lifeW.Close()
		statusR.Close()
		_ = guard.Wait()
		why := strings.TrimPrefix(strings.TrimSpace(first), "error ")
		if err != nil {
			why = "its guard ended without a word"
		}
		return nil, cannotRun(command[0], why)
	}
	signal.Notify(c.signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() { // it ends with the guard, which guardLock waits for
		_ = guard.Wait()
		signal.Stop(c.signals)
		lifeW.Close()
		statusR.Close()
		c.ended <- statusOf(guard.ProcessState, c.group)
	}()
	return c, nil
}

// statusOf takes the guard's exit code, which is the command's. A guard that was killed leaves a group that has to be ended still.
func statusOf(state *os.ProcessState, group int) childStatus {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		_ = syscall.Kill(-group, syscall.SIGKILL)
		return childStatus{code: 128 + int(ws.Signal())}
	}
	return childStatus{code: state.ExitCode()}
}

func (c *lockedChild) signal(s os.Signal) { _ = syscall.Kill(-c.group, s.(syscall.Signal)) }

// term and kill ask the guard, which also wakes who is stopped; one that is frozen itself is gone round.
func (c *lockedChild) term() { c.order("term") }

func (c *lockedChild) kill() {
	c.order("kill")
	_ = syscall.Kill(-c.group, syscall.SIGKILL)
}

func (c *lockedChild) order(word string) {
	_ = c.life.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = fmt.Fprintln(c.life, word) // a guard that is gone has nobody to order about
}
