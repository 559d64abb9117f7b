package main

import "syscall"

// ownGroup gives a child a process group of its own: Ctrl-C does not reach it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
