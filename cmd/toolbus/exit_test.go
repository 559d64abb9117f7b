package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/bridge"
	"github.com/toolbus/toolbus/servers/wire"
)

// The codes and their words are an interface: this table is written out, not taken from the code.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		exit int
		word string
	}{
		{nil, 0, "ok"},
		{errors.New("whatever"), 1, "internal"},
		{&bridge.StartError{Err: errors.New("x")}, 1, "internal"},
		{&bridge.ExitError{}, 1, "internal"},
		{usage("", "x"), 2, "usage"},
		{&registry.NameError{}, 2, "usage"},
		{&bus.DirError{}, 2, "usage"},
		{fmt.Errorf("%w: x", bus.ErrAuth), 3, "auth"},
		{kvstore.ErrDenied, 3, "auth"},
		{bus.ErrUnreachable, 4, "unreachable"},
		{fmt.Errorf("%w: %w", bus.ErrUnreachable, context.DeadlineExceeded), 4, "unreachable"},
		{kvstore.ErrUnavailable, 4, "unreachable"},
		{fmt.Errorf("%w: %w", kvstore.ErrUnavailable, context.DeadlineExceeded), 4, "unreachable"},
		{&bus.NotReadyError{Cause: context.DeadlineExceeded}, 4, "unreachable"},
		{bus.ErrTooOld, 4, "unreachable"},
		{&wire.Error{Code: -32602, Message: "unknown tool"}, 5, "tool_error"},
		{registry.ErrNotFound, 6, "not_found"},
		{&registry.NameTakenError{}, 7, "name_taken"},
		{context.DeadlineExceeded, 8, "timeout"},
		{kvstore.ErrUnknown, 8, "timeout"},
		{&wire.Error{Code: wire.CodeNoResponders}, 9, "no_answer"},
		{&wire.Error{Code: wire.CodeEnded}, 9, "no_answer"},
		{&signalError{syscall.SIGINT}, 130, "interrupted"},
		{&signalError{syscall.SIGTERM}, 143, "terminated"},
	} {
		if got := classify(c.err); got.exit != c.exit || got.word != c.word {
			t.Errorf("%v: %d %s, not %d %s", c.err, got.exit, got.word, c.exit, c.word)
		}
	}
	seen := map[int]bool{}
	for _, c := range classes {
		if seen[c.exit] || c.when == "" {
			t.Errorf("class %+v", c)
		}
		seen[c.exit] = true
	}
}

// No error leaves without a hint, for people or for programs.
func TestEveryErrorHasAHint(t *testing.T) {
	all := []error{errors.New("whatever"), usage("do this", "x"), context.DeadlineExceeded, &registry.NameTakenError{}, &wire.Error{Code: -1}}
	for _, row := range errorClasses {
		all = append(all, row.err)
	}
	for _, row := range hintByError {
		all = append(all, row.err)
	}
	for _, err := range all {
		var people, programs bytes.Buffer
		e := newEnv(nil, nil, &people, func(string) string { return "" })
		e.tell(err)
		if lines := strings.Split(people.String(), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "Error: ") || len(lines[1]) < len("Hint:  ?") {
			t.Errorf("%v: people read %q", err, people.String())
		}
		e = newEnv(nil, nil, &programs, func(string) string { return "" })
		e.out.format = formatJSON
		e.tell(err)
		var line struct {
			APIVersion, Type string
			Error            struct {
				Code, Message, Hint string
				Exit                int
			}
		}
		if err := json.Unmarshal(programs.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Error.Hint == "" || line.Error.Code == "" || line.Error.Exit == 0 || line.APIVersion != apiVersion || line.Type != "Error" || bytes.Count(programs.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%v: programs read %s", err, programs.String())
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"calculator", "weather", "team-a.files", "github"}
	for word, want := range map[string]string{
		"calculater": "calculator", "calc": "calculator", "wether": "weather", "files": "team-a.files", "gitub": "github", "zzz": "", "x": "", "": "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest to %q is %q, not %q", word, got, want)
		}
	}
}
