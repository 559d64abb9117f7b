//go:build unix

package bench

import "syscall"

// ownGroup keeps the signals of a terminal away from a child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// The signals that freeze a process and let it go on.
const (
	stop = syscall.SIGSTOP
	cont = syscall.SIGCONT
)
