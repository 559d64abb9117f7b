//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// lockTTL is short, so that a lock that waits one does not take long.
const lockTTL = 2 * time.Second

// lockNode is a node of its own process, so that it can be frozen.
func lockNode(t *testing.T) (node *program, url string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "url")
	node = start(t, "up", "--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, "node"), "--ttl", lockTTL.String(), "--url-file", file)
	go node.drain()
	return node, fileText(t, file)
}

func fileText(t *testing.T, file string) (text string) {
	t.Helper()
	waitFor(t, func() bool {
		data, _ := os.ReadFile(file)
		text = strings.TrimSpace(string(data))
		return text != ""
	})
	return text
}

// startLock holds a name with a command that is deaf to SIGTERM, and that has a child of its own. It returns the pids of both.
func startLock(t *testing.T, url string, flags ...string) (lock *program, pids []int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pids")
	script := "trap '' TERM; sleep 600 & echo $$ $! >" + file + "; while :; do wait; done"
	lock = start(t, append(append([]string{"-s", url, "lock", "job"}, flags...), "--", "sh", "-c", script)...)
	go lock.drain()
	for word := range strings.FieldsSeq(fileText(t, file)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	t.Cleanup(func() { _ = syscall.Kill(-pids[0], syscall.SIGKILL) })
	if len(pids) != 2 || !living(pids...) {
		t.Fatalf("the processes %d do not run", pids)
	}
	return lock, pids
}

// living tells whether one of the processes lives still; a zombie does not.
func living(pids ...int) bool {
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		_, after, _ := strings.Cut(string(stat), ") ")
		if err == nil && !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X") {
			return true
		}
	}
	return false
}

// No command outlives a killed lock, nor what it has started, and the name is free.
func TestLockKilled(t *testing.T) {
	_, url := lockNode(t)
	lock, pids := startLock(t, url, "--grace", "100ms")
	kill(t, lock)
	waitFor(t, func() bool { return !living(pids...) })
	if out, err := exec.Command("toolbus", "-s", url, "wait", "job", "--for", "gone", "--timeout", patience.String()).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// A log that does not answer any more: the command is dead before a TTL has passed, deaf to SIGTERM or not, and however long its grace.
func TestLockOutOfReach(t *testing.T) {
	node, url := lockNode(t)
	lock, pids := startLock(t, url, "--grace", "1h")
	if err := node.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	waitFor(t, func() bool { return !living(pids...) })
	took := time.Since(began)
	t.Logf("dead %s after the log was frozen, with a TTL of %s", took, lockTTL)
	if took > lockTTL*5/4 { // with room for a busy machine, which kills late and looks late
		t.Errorf("it took %s with a TTL of %s", took, lockTTL)
	}
	if err := node.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if exit := lock.end(t); exit != classUnreachable.exit {
		t.Errorf("exit code %d, not %d", exit, classUnreachable.exit)
	}
}

// Somebody removes the record by hand: the command is told, and then killed, and lock says 7.
func TestLockTaken(t *testing.T) {
	_, url := lockNode(t)
	lock, pids := startLock(t, url, "--grace", "100ms")
	conn, err := bus.Connect(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	store, err := kvstore.OpenJetStream(t.Context(), conn.NATS(), "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := registry.Lookup(t.Context(), store, "job")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Delete(t.Context(), "names.job", nil, rec.Revision); err != nil {
		t.Fatal(err)
	}
	if exit := lock.end(t); exit != classTaken.exit {
		t.Errorf("exit code %d, not %d", exit, classTaken.exit)
	}
	if living(pids...) {
		t.Errorf("%d run still", pids)
	}
}
