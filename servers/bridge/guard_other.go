//go:build unix && !linux

package bridge

import "syscall"

// childAttr gives the child a process group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
