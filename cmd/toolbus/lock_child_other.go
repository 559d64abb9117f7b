//go:build !unix

package main

import (
	"os"
	"os/exec"
	"time"
)

// lockedChild is the command of a lock. Without process groups and signals it is ended at once, and what it has started is not; a lock that is
// killed leaves it behind.
type lockedChild struct {
	cmd     *exec.Cmd
	ended   chan childStatus
	signals chan os.Signal
}

func (e *env) startLocked(command []string, _ time.Duration, env []string) (*lockedChild, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = e.stdin, e.stdout, e.stderr, childEnv(env)
	if err := cmd.Start(); err != nil {
		return nil, cannotRun(command[0], err.Error())
	}
	c := &lockedChild{cmd: cmd, ended: make(chan childStatus, 1)}
	go func() {
		_ = cmd.Wait()
		c.ended <- childStatus{code: cmd.ProcessState.ExitCode()}
	}()
	return c, nil
}

func (c *lockedChild) signal(os.Signal) { c.kill() }
func (c *lockedChild) term()            { c.kill() }
func (c *lockedChild) kill()            { _ = c.cmd.Process.Kill() }
