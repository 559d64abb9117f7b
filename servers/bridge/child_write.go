package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// joinedFrame is up to which size a message and its newline go out in one write: copying is cheaper than a second call to the system.
const joinedFrame = 64 << 10

// past is a deadline that has passed, whatever the clock says.
var past = time.Unix(1, 0)

// stdin is the writing end of a child's input: one writer at a time, no frame torn.
type stdin struct {
	f       *os.File
	turn    chan struct{} // held by who writes
	rest    []byte        // of a message that the child has begun to take; it goes first
	buf     []byte
	timeout time.Duration
}

// Write gives the child one message. Where the child does not read, Write waits for WriteTimeout or until ctx ends: a message of which
// nothing was taken by then is given back, with ctx's error or an error that is ErrBlocked and a *wire.Error; one of which a part was taken
// is kept, goes out when the child reads again, and counts as written. Any other error means that the child is ending; it is the *ExitError
// where that is known.
func (c *Child) Write(ctx context.Context, msg json.RawMessage) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(msg) > c.opts.MaxFrame {
		return refusal(wire.CodeTooLarge, fmt.Sprintf("a message of %d bytes, the bridge passes on %d", len(msg), c.opts.MaxFrame))
	}
	patience := time.NewTimer(c.in.timeout)
	defer patience.Stop()
	select {
	case <-c.closed:
		return io.ErrClosedPipe
	case <-c.dead:
		return c.err
	default:
	}
	select {
	case c.in.turn <- struct{}{}:
	case <-c.closed:
		return io.ErrClosedPipe
	case <-c.dead:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return c.blocked()
	}
	taken, err := c.in.write(ctx, msg)
	<-c.in.turn
	switch {
	case err == nil || taken && errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
			return context.DeadlineExceeded // the pipe's timer was quicker than ctx's
		}
		return c.blocked()
	}
	return c.broken(ctx, err)
}

// write sends the rest of the message before, then msg. taken says that a part of msg is with the child, which gets the rest.
func (s *stdin) write(ctx context.Context, msg []byte) (taken bool, err error) {
	deadline := time.Now().Add(s.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	s.f.SetWriteDeadline(deadline)
	if ctx.Done() != nil {
		cut := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(cut)
			s.f.SetWriteDeadline(past)
		})
		defer func() {
			if !stop() {
				<-cut // else it could cut the next writer's
			}
		}()
	}
	if len(s.rest) > 0 {
		n, err := s.f.Write(s.rest)
		if s.rest = s.rest[n:]; err != nil {
			return false, err
		}
	}
	line := onOneLine(msg)
	joined := len(line) <= joinedFrame
	if joined {
		s.buf = append(append(s.buf[:0], line...), '\n')
		line = s.buf
	}
	n, err := s.f.Write(line)
	if n == 0 && err != nil {
		return false, err
	}
	s.rest = bytes.Clone(line[n:])
	if !joined {
		s.rest = append(s.rest, '\n')
	}
	if err == nil && len(s.rest) > 0 {
		n, err = s.f.Write(s.rest)
		s.rest = s.rest[n:]
	}
	return true, err
}

// onOneLine returns msg without line breaks, which would cut the frame; in JSON they can only stand between tokens.
func onOneLine(msg []byte) []byte {
	if bytes.IndexByte(msg, '\n') < 0 && bytes.IndexByte(msg, '\r') < 0 {
		return msg
	}
	line := bytes.Clone(msg)
	for i, b := range line {
		if b == '\n' || b == '\r' {
			line[i] = ' '
		}
	}
	return line
}

// blockedError is a message that the child did not take, and concerns that message alone.
type blockedError struct{ answer *wire.Error }

func (e *blockedError) Error() string        { return ErrBlocked.Error() + ": " + e.answer.Message }
func (e *blockedError) Is(target error) bool { return target == ErrBlocked }
func (e *blockedError) Unwrap() error        { return e.answer }

func (c *Child) blocked() error {
	return &blockedError{refusal(wire.CodeBusy, fmt.Sprintf("the server (%s) has not read its input for %s", c.command, c.in.timeout))}
}

// brokenPatience is how long the end of a process may take to show after its pipe broke.
const brokenPatience = time.Second

// broken is the error of a pipe that the child has closed: a child without an input is none, so it is ended.
func (c *Child) broken(ctx context.Context, err error) error {
	t := time.NewTimer(brokenPatience)
	defer t.Stop()
	select {
	case <-c.closed:
		return io.ErrClosedPipe
	case <-c.dead:
		return c.err
	case <-ctx.Done():
	case <-t.C:
	}
	c.end()
	return fmt.Errorf("bridge: %s has closed its input: %w", c.command, err)
}
