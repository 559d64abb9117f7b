package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

var (
	// ErrExited: the child's process has ended. The error is an *ExitError.
	ErrExited = errors.New("bridge: the child has exited")
	// ErrStart: the command could not be started, or did not become an MCP server in time. The error is a *StartError.
	ErrStart = errors.New("bridge: the server did not start")
	// ErrBusy: as many sessions as allowed have a child. The error is a *BusyError.
	ErrBusy = errors.New("bridge: too many sessions")
	// ErrBlocked: the child does not read its input.
	ErrBlocked = errors.New("bridge: the child does not read its input")
)

// errorLines is how many of the last lines on stderr an ExitError puts into its text; Stderr has all that were kept.
const errorLines = 5

// ExitError says how a child ended and what it said last.
type ExitError struct {
	Command string         // the command line, as it was given
	Status  int            // exit status; -1 where a signal ended it, or nobody could see how it ended
	Signal  syscall.Signal // the signal that ended it, 0 for none
	Stderr  []string       // its last lines on stderr, the newest at the end
	After   time.Duration  // how long it lived
	Cause   string         // what is known instead of a status and a signal, else ""
}

// Error is one line: the command, how it ended, after how long, and the last lines on stderr.
func (e *ExitError) Error() string {
	return fmt.Sprintf("bridge: %s %s", e.Command, e.story())
}

// story is the error without the command.
func (e *ExitError) story() string {
	return fmt.Sprintf("%s after %s%s", e.How(), round(e.After), lastWords(e.Stderr))
}

// lastWords is the end of stderr as an error's text has it.
func lastWords(stderr []string) string {
	if len(stderr) == 0 {
		return ""
	}
	return "; stderr: " + strings.Join(stderr[max(0, len(stderr)-errorLines):], " | ")
}

// How is the end in a few words: "exited with status 3", "was ended by signal 9 (killed)".
func (e *ExitError) How() string {
	switch {
	case e.Signal != 0:
		return fmt.Sprintf("was ended by signal %d (%s)", int(e.Signal), e.Signal)
	case e.Cause != "":
		return e.Cause
	}
	return fmt.Sprintf("exited with status %d", e.Status)
}

// Is reports that an ExitError is ErrExited.
func (e *ExitError) Is(target error) bool { return target == ErrExited }

// StartError says why a command is no server on the bus: what was tried last, and the cause.
type StartError struct {
	Command string
	Step    string   // "start", "initialize", "server/discover"
	Stderr  []string // the last lines on stderr of a child that was still alive; a dead one's are in the *ExitError that is the cause
	Err     error
}

// Error is one line: the command, the step, the cause, and the last lines on stderr.
func (e *StartError) Error() string {
	text := fmt.Sprintf("bridge: %s did not start as an MCP server (%s): ", e.Command, e.Step)
	if exit, ok := errors.AsType[*ExitError](e.Err); ok {
		return text + exit.story()
	}
	return text + e.Err.Error() + lastWords(e.Stderr)
}

// Is reports that a StartError is ErrStart.
func (e *StartError) Is(target error) bool { return target == ErrStart }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// BusyError refuses a session for which there is no child left. Its client gets it as wire.CodeBusy.
type BusyError struct {
	Command string
	Max     int // of MaxSessions
}

// Error says how many sessions there may be.
func (e *BusyError) Error() string {
	return fmt.Sprintf("bridge: %s has its %d sessions, and takes no more before one ends", e.Command, e.Max)
}

// Is reports that a BusyError is ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Unwrap returns the answer that the client gets, a *wire.Error.
func (e *BusyError) Unwrap() error {
	return refusal(wire.CodeBusy, fmt.Sprintf("the server has its %d sessions and takes no more before one ends", e.Max))
}

// refusal is the bridge's answer to a request that the server has not seen.
func refusal(code int, message string) *wire.Error {
	data, _ := json.Marshal(wire.Facts{Executed: "no"})
	return &wire.Error{Code: code, Message: message, Data: data}
}

// round makes a lifetime short to read.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
