package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/bridge"
	"github.com/toolbus/toolbus/servers/gateway"
	"github.com/toolbus/toolbus/servers/wire"
)

// class is one way for a command to end: its exit code, and the word that stands for it in JSON.
type class struct {
	exit int
	word string
	when string // for `toolbus help exit-codes`
}

// The exit codes are an interface: scripts branch on them.
var (
	classOK          = &class{0, "ok", "done; also a list with no rows"}
	classInternal    = &class{1, "internal", "something unexpected"}
	classUsage       = &class{2, "usage", "a wrong flag or argument"}
	classAuth        = &class{3, "auth", "NATS refused the credentials"}
	classUnreachable = &class{4, "unreachable", "no NATS, no JetStream or no quorum"}
	classTool        = &class{5, "tool_error", "the server or its tool answered with an error"}
	classNotFound    = &class{6, "not_found", "no such name, group or context"}
	classTaken       = &class{7, "name_taken", "the name is held by somebody else"}
	classTimeout     = &class{8, "timeout", "no answer within --timeout"}
	classNoAnswer    = &class{9, "no_answer", "the name is registered, but nobody answers"}
	classDeclined    = &class{10, "declined", "the owner was asked and does not do it"}
	classUnhealthy   = &class{11, "unhealthy", "doctor found something"}
	classInterrupted = &class{130, "interrupted", "SIGINT"}
	classTerminated  = &class{143, "terminated", "SIGTERM"}
)

var classes = []*class{classOK, classInternal, classUsage, classAuth, classUnreachable, classTool, classNotFound, classTaken, classTimeout,
	classNoAnswer, classDeclined, classUnhealthy, classInterrupted, classTerminated}

// failure is an error that a command makes itself: it knows its class, what to do about it, and facts for programs.
type failure struct {
	class *class
	msg   string
	hint  string
	facts map[string]any // further members of the JSON envelope
	cause error
}

func (f *failure) Error() string { return f.msg }
func (f *failure) Unwrap() error { return f.cause }

// fail makes an error with its hint.
func fail(c *class, hint, format string, args ...any) *failure {
	return &failure{class: c, hint: hint, msg: fmt.Sprintf(format, args...)}
}

// with adds a fact.
func (f *failure) with(key string, value any) *failure {
	if f.facts == nil {
		f.facts = map[string]any{}
	}
	f.facts[key] = value
	return f
}

func usage(hint, format string, args ...any) error { return fail(classUsage, hint, format, args...) }

// errorClasses says which class an error of the rooms below is. The first row that errors.Is matches counts.
var errorClasses = []struct {
	err   error
	class *class
}{
	{registry.ErrBadName, classUsage},
	{registry.ErrBadPattern, classUsage},
	{registry.ErrBadSelector, classUsage},
	{registry.ErrNameTaken, classTaken},
	{registry.ErrNotFound, classNotFound},
	{registry.ErrDeclined, classDeclined},
	{wire.ErrNoResponders, classNoAnswer},
	{wire.ErrEnded, classNoAnswer},
	{wire.ErrNotValid, classNoAnswer},
	{wire.ErrBackend, classNoAnswer},
	{wire.ErrForeign, classNoAnswer},
	{wire.ErrUnknown, classTimeout},
	{bus.ErrNoResponders, classNoAnswer},
	{bus.ErrAuth, classAuth},
	{kvstore.ErrDenied, classAuth},
	{bus.ErrBadOptions, classUsage},
	{bus.ErrWrongDir, classUsage},
	{bus.ErrUnreachable, classUnreachable},
	{bus.ErrDisconnected, classUnreachable},
	{bus.ErrClosed, classUnreachable},
	{bus.ErrTooOld, classUnreachable},
	{kvstore.ErrTooOld, classUnreachable},
	{bus.ErrNotReady, classUnreachable},
	{registry.ErrNotSynced, classUnreachable},
	{kvstore.ErrUnavailable, classUnreachable},
	{kvstore.ErrBusy, classUnreachable},
	{gateway.ErrExposed, classUsage},
	{gateway.ErrAddress, classUsage},
	{bridge.ErrStart, classInternal},
	{bridge.ErrExited, classInternal},
	{context.DeadlineExceeded, classTimeout},
	{kvstore.ErrUnknown, classTimeout},
}

// classify finds the class of an error.
func classify(err error) *class {
	if err == nil {
		return classOK
	}
	if s, ok := errors.AsType[*signalError](err); ok {
		if s.signal == syscall.SIGTERM {
			return classTerminated
		}
		return classInterrupted
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.class
	}
	for _, row := range errorClasses {
		if errors.Is(err, row.err) {
			return row.class
		}
	}
	if _, ok := errors.AsType[*wire.Error](err); ok {
		return classTool // the server's own error
	}
	return classInternal
}
