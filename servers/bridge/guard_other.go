//go:build unix && !linux

package bridge

import "syscall"

// childAttr gives the child a process group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// adopt and reapAdopted have no form here: process 1 reaps the child's orphans.
func adopt()          {}
func reapAdopted(int) {}
