//go:build unix

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

var _ wire.Pipe = (*Child)(nil)

// patience bounds what should take milliseconds, on a machine that is busy with something else.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start starts a fake, and ends it with the test.
func start(t testing.TB, opts *ChildOptions, fake string, args ...string) *Child {
	t.Helper()
	c, err := StartChild(within(t), self(t, fake, args...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c) })
	return c
}

func stop(t testing.TB, c *Child) {
	t.Helper()
	c.Close()
	if err := c.Wait(within(t)); err != nil {
		t.Errorf("child %d is not gone: %v", c.Pid(), err)
	}
}

func read(t testing.TB, c wire.Pipe) string {
	t.Helper()
	msg, err := c.Read(within(t))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(msg)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func exitError(t testing.TB, err error) *ExitError {
	t.Helper()
	exit, ok := errors.AsType[*ExitError](err)
	if !ok || !errors.Is(err, ErrExited) {
		t.Fatalf("error %v (%T) is no *ExitError", err, err)
	}
	return exit
}

func TestChildCarriesMessages(t *testing.T) {
	c := start(t, nil, "cat")
	big := `{"jsonrpc":"2.0","id":9007199254740993,"method":"x","params":"` + strings.Repeat("é", 6<<20) + `"}`
	pretty := "{\n  \"jsonrpc\": \"2.0\",\r\n  \"method\": \"y\"\n}"
	go func() {
		for _, msg := range []string{message(1), big, pretty} {
			if err := c.Write(t.Context(), json.RawMessage(msg)); err != nil {
				t.Errorf("write: %v", err)
			}
		}
	}()
	for i, want := range []string{message(1), big, strings.NewReplacer("\n", " ", "\r", " ").Replace(pretty)} {
		if got := read(t, c); got != want {
			t.Fatalf("message %d: %.100q, want %.100q", i, got, want)
		}
	}
	if pretty[1] != '\n' {
		t.Fatal("the caller's bytes were changed")
	}
}

func TestChildNoiseIsSkipped(t *testing.T) {
	var log bytes.Buffer
	c := start(t, &ChildOptions{MaxFrame: 1 << 20, Logger: slog.New(slog.NewTextHandler(&log, nil))}, "noisy")
	for n := 1; n <= 5; n++ {
		if got := read(t, c); got != message(n) {
			t.Fatalf("message %d: %q", n, got)
		}
	}
	_, err := c.Read(within(t))
	if exit := exitError(t, err); exit.Status != 0 || exit.Signal != 0 {
		t.Fatalf("it ended with %+v", exit)
	}
	// Starting, ready, log line, 42, "text", {broken, loading, the long one
	if n := c.Noise(); n != 8 {
		t.Errorf("%d lines of noise, want 8", n)
	}
	stop(t, c)
	for _, want := range []string{"Starting server...", "line=ready", "broken", "longer than a message may be", fmt.Sprint("bytes=", 3<<20)} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

// What a child has said before its death is heard, however late.
func TestChildLastWordsAreRead(t *testing.T) {
	const n = 1000 // about 40 kB: more than the child's channel, less than a pipe
	c := start(t, nil, "last", fmt.Sprint(n))
	<-c.Done()
	for i := range n {
		if got := read(t, c); got != message(i) {
			t.Fatalf("message %d: %q", i, got)
		}
	}
	_, err := c.Read(within(t))
	if exit := exitError(t, err); exit.Status != 5 || len(exit.Stderr) != 1 || exit.Stderr[0] != "that was all" {
		t.Fatalf("it ended with %+v", exit)
	}
}

func TestChildExitErrorTellsTheStory(t *testing.T) {
	c := start(t, &ChildOptions{StderrLines: 7}, "die")
	if c.Err() != nil {
		t.Fatalf("alive, and Err is %v", c.Err())
	}
	if err := c.Write(t.Context(), json.RawMessage(message(1))); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(within(t))
	exit := exitError(t, err)
	if exit.Status != 3 || exit.Signal != 0 || exit.After <= 0 || len(exit.Stderr) != 7 {
		t.Fatalf("it ended with %+v", exit)
	}
	if exit.Stderr[0] != "line 34" || exit.Stderr[6] != "fatal: no such database" {
		t.Fatalf("its last words were %q", exit.Stderr)
	}
	for _, want := range []string{"exited with status 3", "line 39 | fatal: no such database", " die"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := c.Write(t.Context(), json.RawMessage(message(2))); !errors.Is(err, ErrExited) {
		t.Errorf("a write after the end: %v", err)
	}
}

func TestChildSignalIsKept(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGHUP} {
		c := start(t, nil, "signal", fmt.Sprint(int(s)))
		_, err := c.Read(within(t))
		if exit := exitError(t, err); exit.Signal != s || exit.Status != -1 {
			t.Errorf("signal %v: it ended with %+v", s, exit)
		}
	}
}

func TestChildThatIsNone(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		command []string
		opts    *ChildOptions
		want    string
	}{
		{nil, nil, "no command"},
		{[]string{"no-such-program-anywhere"}, nil, "executable file not found"},
		{[]string{plain}, nil, "permission denied"},
		{self(t, "cat"), &ChildOptions{Dir: filepath.Join(dir, "none")}, "no such file"},
		{self(t, "cat"), &ChildOptions{Guard: []string{filepath.Join(dir, "none")}}, "no such file"},
	} {
		c, err := StartChild(within(t), test.command, test.opts)
		if c != nil || !errors.Is(err, ErrStart) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.command, err, test.want)
		}
	}
	// A guard that is none says nothing, and the start ends with ctx.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := StartChild(ctx, self(t, "cat"), &ChildOptions{Guard: self(t, "cat")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a guard that says nothing: %v", err)
	}
}

func TestChildReadHonoursContext(t *testing.T) {
	c := start(t, nil, "cat")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("read: %v", err)
	}
	if err := c.Write(ctx, json.RawMessage(message(0))); !errors.Is(err, context.Canceled) {
		t.Fatalf("write: %v", err)
	}
	if err := c.Write(t.Context(), json.RawMessage(message(1))); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c); got != message(1) {
		t.Fatalf("after a cancelled read: %q", got)
	}
	c.Close()
	if _, err := c.Read(t.Context()); err != io.ErrClosedPipe {
		t.Errorf("read after close: %v", err)
	}
	if err := c.Write(t.Context(), json.RawMessage(message(2))); err != io.ErrClosedPipe {
		t.Errorf("write after close: %v", err)
	}
}

// A child that closes its stdout can answer nobody any more.
func TestChildThatFallsMuteIsEnded(t *testing.T) {
	c := start(t, &ChildOptions{EOFGrace: 50 * time.Millisecond}, "mute")
	read(t, c)
	_, err := c.Read(within(t))
	exitError(t, err)
}
