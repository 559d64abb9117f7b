package bench

import "syscall"

// ownGroup keeps the signals of a terminal away from a child.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// Windows has no signals that freeze a process: sending these fails, and the case says so.
const (
	stop = syscall.Signal(0x13)
	cont = syscall.Signal(0x12)
)
