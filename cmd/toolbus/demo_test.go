//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// processes finds those that have the mark, by what the kernel says of them.
func processes(value string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && bytes.Contains(data, []byte(mark+"="+value)) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

func gone(t *testing.T, value string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left := processes(value)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("processes %v are left", left)
		}
	}
}

// startDemo starts a demo whose processes can be found and whose folder is in the test's.
func startDemo(t *testing.T, args ...string) (p *program, value, tmp string) {
	t.Helper()
	value, tmp = t.Name(), t.TempDir()
	t.Setenv(mark, value)
	t.Setenv("TMPDIR", tmp)
	return start(t, append([]string{"demo"}, args...)...), value, tmp
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("%s is left", e.Name())
	}
}

func TestDemo(t *testing.T) {
	p, value, tmp := startDemo(t, "-o", "json")
	go p.drain()
	began := time.Now()
	if code := p.end(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.out.String())
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	var report demoReport
	if err := json.Unmarshal([]byte(p.out.String()), &report); err != nil {
		t.Fatal(err)
	}
	if !report.Holds || len(report.Steps) != 12 || report.APIVersion != apiVersion {
		t.Errorf("the report is %+v", report)
	}
	for _, s := range report.Steps {
		if !s.Holds || s.Took <= 0 {
			t.Errorf("a step: %+v", s)
		}
		t.Logf("%9.3f ms  %s: %s", s.Took, s.Claim, s.Details)
	}
	gone(t, value)
	empty(t, tmp)
}

// Ctrl-C at any moment ends it with 130 and leaves nothing.
func TestDemoInterrupted(t *testing.T) {
	for _, after := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 900 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			p, value, tmp := startDemo(t, "--keep")
			go p.drain()
			timer := time.NewTimer(after) // the moment is what is tested
			<-timer.C
			if err := p.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if code := p.end(t); code != 130 {
				t.Errorf("exit code %d, not 130: %s", code, p.out.String())
			}
			gone(t, value)
			empty(t, tmp)
		})
	}
}

// kill -9 of the demo itself may leave its folder, never a process: neither while it starts nor when all of them are up.
func TestDemoKilled(t *testing.T) {
	for _, c := range []struct {
		when string
		ripe func(p *program, value string) bool
	}{
		{"starting", func(_ *program, value string) bool { return len(processes(value)) >= 4 }}, // it, and three nodes at least
		{"up", func(p *program, _ string) bool { return strings.Contains(p.out.String(), "stays up until Ctrl-C") }},
	} {
		t.Run(c.when, func(t *testing.T) {
			p, value, tmp := startDemo(t, "--keep")
			go p.drain()
			waitFor(t, func() bool {
				if out := p.out.String(); strings.Contains(out, "✗") {
					t.Fatalf("a claim did not hold: %s", out)
				}
				return c.ripe(p, value)
			})
			killDemo(t, p, value, tmp)
		})
	}
}

func killDemo(t *testing.T, p *program, value, tmp string) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.end(t)
	gone(t, value)
	left, _ := filepath.Glob(filepath.Join(tmp, "*"))
	for _, dir := range left {
		if !strings.HasPrefix(filepath.Base(dir), "toolbus-demo-") {
			t.Errorf("%s is left", dir)
		}
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}
