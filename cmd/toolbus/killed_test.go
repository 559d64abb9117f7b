//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

var partyVersions = map[string]string{"modern": modernRevision, "legacy": legacyRevision}

// Each party of a call is killed in turn, while a call hangs and while nothing does. The others get to know, no call hangs, no process is left, and
// the next call works.

func TestKilledChild(t *testing.T) {
	p := newParty(t, 1)
	p.bridge(0)
	for era, version := range partyVersions {
		t.Run(era, func(t *testing.T) {
			p := p.of(t)
			session, _ := p.connect(0, version)
			pid, done := p.hang(session)
			killed := killPID(t, pid)
			p.ends(killed, done)
			if now := p.next(session); now == pid {
				t.Errorf("process %d answers, which was killed", pid)
			}
			idle := p.next(session)
			killPID(t, idle)
			if now := p.next(session); now == idle {
				t.Errorf("process %d answers, which was killed", idle)
			}
		})
	}
}

func TestKilledBridge(t *testing.T) {
	p := newParty(t, 1)
	for era, version := range partyVersions {
		t.Run(era, func(t *testing.T) {
			p := p.of(t)
			bridge := p.bridge(0)
			session, _ := p.connect(0, version)
			child, done := p.hang(session)
			killed := time.Now()
			kill(t, bridge)
			p.ends(killed, done)
			p.over("the child", killed, child)
			p.free(killed)
			bridge = p.bridge(0)
			child = p.next(session)
			killed = time.Now() // idle now
			kill(t, bridge)
			p.over("the child", killed, child)
			p.free(killed)
		})
	}
}

func TestKilledShim(t *testing.T) {
	p := newParty(t, 1)
	p.bridge(0)
	for era, version := range partyVersions {
		t.Run(era, func(t *testing.T) {
			p := p.of(t)
			session, shim := p.connect(0, version)
			child, done := p.hang(session)
			killed := killPID(t, shim.Process.Pid)
			p.ends(killed, done)
			p.noted(child, killed)
			session, shim = p.connect(0, version)
			idle := p.next(session)
			if killed = killPID(t, shim.Process.Pid); era == "legacy" { // the session had a child of its own
				p.over("the session's child", killed, idle)
			}
			session, _ = p.connect(0, version)
			p.next(session)
		})
	}
}

func TestKilledClient(t *testing.T) {
	p := newParty(t, 1)
	p.bridge(0)
	for era, version := range partyVersions {
		for _, idle := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, idle %t", era, idle), func(t *testing.T) {
				p := p.of(t)
				client, shim, child := p.client(version)
				if !idle {
					before := len(p.notes("hangs"))
					client.tell("go")
					waitFor(t, func() bool { return len(p.notes("hangs")) > before })
				}
				killed := time.Now()
				client.kill()
				p.over("the shim", killed, shim)
				switch {
				case !idle:
					p.noted(child, killed)
				case era == "legacy":
					p.over("the session's child", killed, child)
				}
				session, _ := p.connect(0, version)
				p.next(session)
			})
		}
	}
}

// TestKilledNode: the node that carries the server, then the one that carries the client. A session survives both.
func TestKilledNode(t *testing.T) {
	for era, version := range partyVersions {
		for node, whose := range []string{"the server's", "the client's"} {
			t.Run(era+", "+whose, func(t *testing.T) {
				p := newParty(t, 3)
				p.bridge(0)
				session, _ := p.connect(1, version)
				before := p.next(session)
				_, done := p.hang(session)
				killed := time.Now()
				kill(t, p.nodes[node])
				after := p.next(session)
				p.took("a call works", killed)
				if era == "legacy" && after != before {
					t.Errorf("process %d had the session, now %d has", before, after)
				}
				select {
				case err := <-done:
					t.Logf("the call in flight ended with %v", err)
				default:
					t.Log("the call in flight goes on")
				}
			})
		}
	}
}

func killPID(t *testing.T, pid int) time.Time {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("killing %d: %v", pid, err)
	}
	return time.Now()
}

// free waits until nobody has the name.
func (p *party) free(since time.Time) {
	p.t.Helper()
	waitFor(p.t, func() bool {
		return exitCode(exec.Command("toolbus", "-s", p.urls[0], "whereis", "party").Run()) == classNotFound.exit
	})
	p.took("the name is free", since)
}
