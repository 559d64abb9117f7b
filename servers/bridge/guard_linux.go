package bridge

import "syscall"

// childAttr gives the child a process group of its own, and SIGKILL should its guard be killed: then there is nobody to end it well.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
