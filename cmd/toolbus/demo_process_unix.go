//go:build unix

package main

import "syscall"

// ownGroup gives a child a process group of its own: the terminal's signals do not reach it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
