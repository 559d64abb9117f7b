//go:build unix

package main

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
)

// An owner that hangs is waited for, and one that is dead, which nobody has told the registry yet, is known by its silence.
func TestJoinAskedOfNobody(t *testing.T) {
	url := bustest.Plain(t).ClientURL()
	p := serve(t, url, "fake")
	join := func() int {
		return exitCode(exec.Command("toolbus", "-s", url, "join", "fake", "team-a", "--timeout", "2s").Run())
	}
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if exit := join(); exit != classTimeout.exit {
		t.Errorf("the owner hangs: exit code %d, not %d", exit, classTimeout.exit)
	}
	kill(t, p)
	if exit := join(); exit != classNoAnswer.exit {
		t.Errorf("the owner is dead: exit code %d, not %d", exit, classNoAnswer.exit)
	}
}
