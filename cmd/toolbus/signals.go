package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return "stopped by signal: " + e.signal.String() }

// echo is how soon after a signal the same one is no second wish: make, npm and timeout pass on what the terminal has sent to all already.
const echo = 200 * time.Millisecond

// withSignals gives a context that ends with the first SIGINT or SIGTERM; its cause is a *signalError. The second one ends the process at
// once: whoever asks twice does not want to wait for a drain.
func withSignals(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case s := <-ch:
				e := &signalError{s.(syscall.Signal)}
				switch {
				case first.IsZero():
					first = time.Now()
					cancel(e)
				case time.Since(first) > echo:
					fmt.Fprintln(stderr, "stopped at once")
					os.Exit(classify(e).exit)
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel(nil)
	}
}

// interrupted returns the signal that ended ctx as an error, nil if none did.
func interrupted(ctx context.Context) error {
	if s, ok := context.Cause(ctx).(*signalError); ok {
		return s
	}
	return nil
}
