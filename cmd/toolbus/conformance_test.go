//go:build linux

package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
)

// The revisions whose required scenarios are run: the newest of each protocol.
const (
	legacyRevision = "2025-11-25"
	modernRevision = "2026-07-28"
)

// busWithGateway is a node and a gateway, each a program of its own.
func busWithGateway(t *testing.T) (url, gateway string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "url")
	node := start(t, "up", "--listen", "127.0.0.1:0", "--dir", t.TempDir(), "--url-file", file)
	go node.drain()
	url = fileText(t, file)
	addrs, err := bus.FreeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, "-s", url, "gateway", "--listen", addrs[0])
	go g.drain()
	listens(t, addrs[0])
	return url, "http://" + addrs[0]
}

// listens waits until somebody accepts connections.
func listens(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// bridged runs a command under a name and waits until that is registered.
func bridged(t *testing.T, url, name string, command ...string) *program {
	t.Helper()
	p := start(t, append([]string{"-s", url, "run", name, "--"}, command...)...)
	p.says(t, name+" is on the bus")
	return p
}

// direct serves the SDK's server over HTTP, without a bus.
func direct(t *testing.T, s *suite, revision string) string {
	t.Helper()
	addrs, err := bus.FreeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	stateless := "-stateless=true"
	if revision == legacyRevision {
		stateless = "-stateless=false"
	}
	cmd := exec.Command(s.server, "-http", addrs[0], stateless)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	listens(t, addrs[0])
	return "http://" + addrs[0]
}

// TestConformance runs the official suite against a server on stdio, through bridge, bus and gateway, and against the same server directly: no scenario that the
// revision requires may fail, and no check that passes directly may be missing.
func TestConformance(t *testing.T) {
	s := newSuite(t)
	url, gateway := busWithGateway(t)
	bridged(t, url, "everything", s.server)
	for _, revision := range []string{legacyRevision, modernRevision} {
		t.Run(revision, func(t *testing.T) {
			want := s.runServer(t, direct(t, s, revision), revision)
			got := s.runServer(t, gateway+"/s/everything/mcp", revision)
			t.Logf("directly: %v", want)
			t.Logf("through the bus: %v", got)
			required(t, got)
			if less := got.less(want); less != nil {
				t.Logf("fewer checks passed than directly: %s", strings.Join(less, ", ")) // of what is not scored some watch the clock
			}
			wanted, _ := want.scored().total()
			if passed, _ := got.scored().total(); passed < wanted {
				t.Errorf("%d checks that count passed through the bus, %d directly: %s", passed, wanted, strings.Join(got.scored().less(want.scored()), ", "))
			}
		})
	}
}

// required fails for each scenario that counts and has failed.
func required(t *testing.T, r results) {
	t.Helper()
	for name, o := range r {
		if o.failed > 0 && !o.unscored {
			t.Errorf("%s: %d checks failed: %s", name, o.failed, strings.Join(o.why, " | "))
		}
	}
}
