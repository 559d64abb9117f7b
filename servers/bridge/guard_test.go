//go:build unix

package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func init() {
	fakes["bridge"] = fakeBridge
	fakes["daemon"] = fakeDaemon
	fakes["orphan"] = fakeOrphan
}

// fakeOrphan leaves a process behind whose parent has ended, and says which one.
func fakeOrphan([]string) int {
	pid, err := exec.Command("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf(`{"jsonrpc":"2.0","id":1,"result":%s}`+"\n", strings.TrimSpace(string(pid)))
	return fakeCat(nil)
}

// fakeBridge is a bridge with one child, which it never closes: it says what the child says and waits to be killed.
func fakeBridge(args []string) int {
	c, err := StartChild(context.Background(), append([]string{os.Args[0]}, args...), &ChildOptions{TermGrace: 100 * time.Millisecond})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	msg, err := c.Read(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(string(msg))
	fmt.Println(c.p.guard.Process.Pid)
	select {}
}

// fakeDaemon has a last word on stderr when it is told to end.
func fakeDaemon([]string) int {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println(message(1))
	<-c
	fmt.Fprintln(os.Stderr, "saved")
	return 0
}

// alive tells whether a process runs; a zombie that waits for its parent does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err) && !onLinux()
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func onLinux() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

func pids(t testing.TB, msg string) []int {
	t.Helper()
	var m struct{ Result []int }
	if err := json.Unmarshal([]byte(msg), &m); err != nil || len(m.Result) != 2 {
		t.Fatalf("no two pids in %s", msg)
	}
	return m.Result
}

// No child outlives its bridge, however that ends, and neither does what the child has started.
func TestChildrenDieWithAKilledBridge(t *testing.T) {
	helper := exec.Command(os.Args[0], "bridge", "family")
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	said.Scan()
	family := pids(t, said.Text())
	said.Scan()
	var guard int
	fmt.Sscan(said.Text(), &guard)
	family = append(family, guard)
	for _, pid := range family {
		if !alive(pid) {
			t.Fatalf("%d of %d is not there to begin with", pid, family)
		}
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	_ = helper.Wait()
	for _, pid := range family {
		eventually(t, fmt.Sprintf("%d of child, grandchild, guard %d is gone", pid, family), func() bool { return !alive(pid) })
	}
	t.Logf("child, grandchild and guard, the first two deaf to SIGTERM, gone %s after kill -9 of their bridge (grace 100ms)", time.Since(killed).Round(time.Millisecond))
}

// A killed guard is not the end of the guarding: the child goes with it, and the bridge sees to its group.
func TestChildDiesWithAKilledGuard(t *testing.T) {
	c := start(t, nil, "family")
	family := pids(t, read(t, c))
	if err := c.p.guard.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(within(t))
	if exit := exitError(t, err); !strings.Contains(exit.Error(), "lost with its guard") {
		t.Errorf("it ended with %+v", exit)
	}
	for _, pid := range family {
		eventually(t, fmt.Sprintf("%d of %d is gone", pid, family), func() bool { return !alive(pid) })
	}
}

// The signals of a terminal, and a kill of everything in sight, do not part a guard from its child.
func TestGuardStaysThroughSignals(t *testing.T) {
	c := start(t, nil, "cat")
	guard := c.p.guard.Process
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE} {
		if err := guard.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Write(t.Context(), json.RawMessage(message(1))); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c); got != message(1) {
		t.Fatalf("read %q", got)
	}
	sid, err := session(guard.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if own, _ := session(os.Getpid()); sid == own || sid != guard.Pid {
		t.Errorf("the guard is in session %d, the bridge in %d", sid, own)
	}
	if group, _ := syscall.Getpgid(c.Pid()); group != c.Pid() {
		t.Errorf("the child is in group %d, and is %d", group, c.Pid())
	}
	if err := guard.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(within(t))
	if exit := exitError(t, err); exit.Signal != syscall.SIGTERM {
		t.Errorf("after SIGTERM to the guard the child ended with %+v", exit)
	}
}

func session(pid int) (int, error) {
	id, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(id), nil
}

// A leader that goes first leaves nobody behind, and its end is told at once, though others hold its pipes.
func TestLeftoversOfTheGroupAreEnded(t *testing.T) {
	c := start(t, &ChildOptions{TermGrace: 500 * time.Millisecond}, "family", "leave")
	family := pids(t, read(t, c))
	_, err := c.Read(within(t))
	if exit := exitError(t, err); exit.Status != 0 {
		t.Errorf("it ended with %+v", exit)
	}
	if !alive(family[1]) {
		t.Error("the leader's end was told only after the rest was gone")
	}
	if err := c.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if alive(family[1]) {
		t.Error("the rest of the group lives on")
	}
}

func TestCloseGoesStepByStep(t *testing.T) {
	grace := &ChildOptions{EOFGrace: 300 * time.Millisecond, TermGrace: 300 * time.Millisecond}
	for _, test := range []struct {
		name   string
		fake   []string
		status int
		signal syscall.Signal
		least  time.Duration
	}{
		{"end of input", []string{"cat"}, 0, 0, 0},
		{"SIGTERM", []string{"stay"}, 7, 0, grace.EOFGrace},
		{"SIGKILL", []string{"stay", "forever"}, -1, syscall.SIGKILL, grace.EOFGrace + grace.TermGrace},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, grace, test.fake[0], test.fake[1:]...)
			if test.fake[0] != "cat" {
				read(t, c)
			}
			before := time.Now()
			c.Close()
			c.Close()
			if err := c.Wait(within(t)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(before); took < test.least {
				t.Errorf("it took %s, less than the graces before it, %s", took, test.least)
			}
			if exit := exitError(t, c.Err()); exit.Status != test.status || exit.Signal != test.signal {
				t.Errorf("it ended with %+v", exit)
			}
		})
	}
}

// Last words on stderr after SIGTERM are heard too, and a frozen child can still hear the SIGTERM.
func TestFrozenChildIsToldToEnd(t *testing.T) {
	c := start(t, &ChildOptions{EOFGrace: 50 * time.Millisecond, TermGrace: patience}, "daemon")
	read(t, c)
	if err := syscall.Kill(c.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := c.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if exit := exitError(t, c.Err()); exit.Status != 0 || len(exit.Stderr) != 1 || exit.Stderr[0] != "saved" {
		t.Errorf("it ended with %+v", exit)
	}
}

func TestGuardRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{nil, {"--"}, {"--grace=x", "cat"}, {"--grace=-1s", "cat"}, {"-v", "cat"}} {
		if _, command, err := parseGuard(args); err == nil {
			t.Errorf("%q is taken as %q", args, command)
		}
	}
	grace, command, err := parseGuard([]string{"--grace=1s", "--", "--grace=2s", "--"})
	if err != nil || grace != time.Second || len(command) != 2 || command[0] != "--grace=2s" {
		t.Errorf("%s %q %v", grace, command, err)
	}
	// Run by hand it has no pipes, and says so.
	out, err := exec.Command(os.Args[0], "guard", "--", "true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "by the bridge only") {
		t.Errorf("by hand: %v, %s", err, out)
	}
	for _, line := range []string{"", "started", "started x", "started 0", "exit", "signal 0", "hello 1"} {
		if r, err := parseReport(line); err == nil {
			t.Errorf("%q is the report %+v", line, r)
		}
	}
}

// parent reads the parent of a process on Linux.
func parent(pid int) (ppid int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(after); len(f) > 1 {
		ppid, _ = strconv.Atoi(f[1])
	}
	return ppid
}

// An orphan of the child does not stay a zombie, whatever process 1 does.
func TestOrphansAreReaped(t *testing.T) {
	if !onLinux() {
		t.Skip("process 1 reaps them here")
	}
	c := start(t, nil, "orphan")
	var m struct{ Result int }
	if err := json.Unmarshal([]byte(read(t, c)), &m); err != nil || m.Result == 0 {
		t.Fatal(err)
	}
	eventually(t, "the guard has it", func() bool { return parent(m.Result) == c.p.guard.Process.Pid })
	if err := syscall.Kill(m.Result, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the orphan is no zombie", func() bool { return syscall.Kill(m.Result, 0) != nil })
	if c.Err() != nil {
		t.Errorf("the child ended: %v", c.Err())
	}
}
