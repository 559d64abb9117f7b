package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestWireErrors: each code comes back as the error that it went out for, and what is not in the table goes out without its text.
func TestWireErrors(t *testing.T) {
	for _, w := range wireErrors {
		code, status, text := errorToWire(fmt.Errorf("wrapped: %w", w.err))
		if code != w.code || status != w.status || text == "" {
			t.Errorf("%v goes out as %s %s %q", w.err, code, status, text)
		}
		if back := errorFromWire(code, text); !errors.Is(back, w.err) {
			t.Errorf("%s comes back as %v", code, back)
		}
	}
	code, status, text := errorToWire(errors.New("password is 1234"))
	if code != "internal" || status != "500" || strings.Contains(text, "1234") {
		t.Errorf("an unknown error goes out as %s %s %q", code, status, text)
	}
	if err := errorFromWire("later", "of a newer version"); !errors.Is(err, ErrInternal) || !strings.Contains(err.Error(), "later") {
		t.Errorf("an unknown code comes back as %v", err)
	}
}

func TestTranslate(t *testing.T) {
	for in, want := range map[error]error{
		nats.ErrNoResponders:           ErrNoResponders,
		nats.ErrConnectionClosed:       ErrClosed,
		nats.ErrConnectionDraining:     ErrClosed,
		nats.ErrReconnectBufExceeded:   ErrDisconnected,
		nats.ErrConnectionReconnecting: ErrDisconnected,
		nats.ErrMaxPayload:             ErrTooLarge,
		nats.ErrBadSubject:             ErrBadSubject,
		nats.ErrAuthorization:          ErrAuth,
		nats.ErrAuthExpired:            ErrAuth,
		nats.ErrPermissionViolation:    ErrAuth,
		context.DeadlineExceeded:       context.DeadlineExceeded,
		nats.ErrSlowConsumer:           nats.ErrSlowConsumer,
	} {
		if got := translate(in); !errors.Is(got, want) || !strings.HasPrefix(got.Error(), "bus: ") {
			t.Errorf("%v becomes %v", in, got)
		}
	}
	if translate(nil) != nil {
		t.Error("no error becomes one")
	}
}

// TestServerLog: a server's Info is our Debug, fatal lines are kept and end nothing, routes are noticed, and the warning about our own
// passwords is dropped.
func TestServerLog(t *testing.T) {
	var out bytes.Buffer
	kicked := 0
	l := newServerLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), func() { kicked++ })
	l.Noticef("Server is ready")
	l.Noticef("127.0.0.1:5 - rid:7 - %s connection closed: %s", "Router", "Read Error")
	l.Noticef("127.0.0.1:5 - lid:7 - %s connection closed: %s", "Leafnode", "Read Error")
	l.Warnf("Plaintext passwords detected, use nkeys or bcrypt")
	l.Warnf("disk is %d%% full", 99)
	l.Errorf("127.0.0.1:5 - rid:7 - Route Error %q", "Authorization Violation")
	l.Errorf("Error trying to connect to route (attempt %d): %v", 1, "refused")
	l.Debugf("noise")
	l.Fatalf("cannot %s", "listen")
	l.Fatalf("a second one")
	if got := <-l.fatal; got != "cannot listen" {
		t.Errorf("fatal line %q", got)
	}
	if kicked != 1 {
		t.Errorf("%d routes noticed, want 1", kicked)
	}
	if hint := l.routeHint(); !strings.Contains(hint, "Authorization Violation") {
		t.Errorf("hint %q", hint)
	}
	for line, level := range map[string]string{"Server is ready": "DEBUG", "disk is 99% full": "WARN", "attempt 1": "INFO", "cannot listen": "ERROR"} {
		found := false
		for text := range strings.Lines(out.String()) {
			found = found || strings.Contains(text, line) && strings.Contains(text, "level="+level+" ")
		}
		if !found {
			t.Errorf("%q is not logged as %s in:\n%s", line, level, &out)
		}
	}
	if strings.Contains(out.String(), "Plaintext") || strings.Contains(out.String(), "noise") {
		t.Errorf("too much is logged:\n%s", &out)
	}
}

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.14.4": true, "2.14.5": true, "2.15.0": true, "2.15.2": true, "3.0.0": true, "v2.15.2": true, "2.15.0-RC.1": true, "2.14.4+build": true,
		"2.14.3": false, "2.14.4-RC.1": false, "2.9.99": false, "1.99.99": false, "": false, "2.15": false, "two": false, "2.15.x": false, "2.15.1-": false,
	} {
		if err := CheckVersion(version); (err == nil) != ok || (err != nil && !errors.Is(err, ErrTooOld)) {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestServiceInfo(t *testing.T) {
	for in, want := range map[string]string{"": "toolbus", "tool_bus-1": "tool_bus-1", "my node.1": "my-node-1", "é": "-"} {
		if got := serviceName(in); got != want {
			t.Errorf("name %q becomes %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"1.2.3": "1.2.3", "v1.2.3-rc.1+x": "1.2.3-rc.1+x", "(devel)": "0.0.0", "": "0.0.0", "1.2": "0.0.0"} {
		if got := serviceVersion(in); got != want {
			t.Errorf("version %q becomes %q, want %q", in, got, want)
		}
	}
}

// TestReconnectDelay: the first round at once, the others slower and never in step.
func TestReconnectDelay(t *testing.T) {
	if d := reconnectDelay(1); d != 0 {
		t.Errorf("the first attempt waits %s", d)
	}
	for round := 2; round < 100; round++ {
		d := reconnectDelay(round)
		most := min(10<<min(round-2, 6), 500)
		if ms := d.Milliseconds(); ms < int64(most/2) || ms > int64(most) {
			t.Errorf("round %d waits %s", round, d)
		}
	}
}
