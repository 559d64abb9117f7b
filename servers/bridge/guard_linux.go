package bridge

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr gives the child a process group of its own, and SIGKILL should its guard be killed: then there is nobody to end it well.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// adopt makes the guard the parent of its child's orphans. Process 1 would be it otherwise, and in a container that is often a program
// that reaps nobody: every orphan would stay a zombie, and nobody could tell an ended group from a living one.
func adopt() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reapAdopted takes the ended ones away. The child itself is left to who waits for it.
func reapAdopted(child int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		pids, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(word); err == nil && pid != child {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			}
		}
	}
}
