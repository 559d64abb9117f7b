package bridge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// Restart says what becomes of a first child that has ended by itself.
type Restart string

// The ways.
const (
	OnFailure Restart = "on-failure" // another one is started, unless it ended with status 0
	Always    Restart = "always"     // another one is started
	Never     Restart = "never"      // that was all
)

// ParseRestart reads a Restart as a user writes it.
func ParseRestart(text string) (Restart, error) {
	switch r := Restart(text); r {
	case OnFailure, Always, Never:
		return r, nil
	}
	return "", fmt.Errorf("bridge: no way to restart: %q; there are %s, %s and %s", text, OnFailure, Always, Never)
}

// again tells whether another child follows one that ended so.
func (r Restart) again(exit *ExitError) bool {
	return r == Always || r == OnFailure && (exit.Status != 0 || exit.Signal != 0)
}

// RestartOptions says how a command is started again. Zero values are the defaults.
type RestartOptions struct {
	Delay    time.Duration // before the first start, half as long or longer by half; twice as long before each that follows; 0: 100 ms
	MaxDelay time.Duration // the longest; 0: 10 s
	Tries    int           // so many starts in a row that did not last, and it is given up; 0: 10
	Limit    time.Duration // so long without a child that lasted, and it is given up; 0: a minute, or StartTimeout where that is longer
	Stable   time.Duration // a child that lived so long has lasted; 0: 10 s
	Wait     time.Duration // how long a request waits for a child that is being started; 0: 30 s
}

func (o RestartOptions) withDefaults() RestartOptions {
	for d, def := range map[*time.Duration]time.Duration{
		&o.Delay: 100 * time.Millisecond, &o.MaxDelay: 10 * time.Second, &o.Limit: time.Minute, &o.Stable: 10 * time.Second, &o.Wait: 30 * time.Second,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	if o.Tries <= 0 {
		o.Tries = 10
	}
	return o
}

// delay is how long to wait before the n-th start in a row, the first being 1. Many children that died together do not come together.
func (o RestartOptions) delay(n int) time.Duration {
	d := o.MaxDelay
	if n < 20 {
		d = min(d, o.Delay<<(n-1))
	}
	return d/2 + rand.N(d)
}

// ErrRestart: a command that kept failing is not started again. The error is a *RestartError.
var ErrRestart = errors.New("bridge: starting it again was given up")

// RestartError says why a command is not started again.
type RestartError struct {
	Command string
	Tries   int           // starts in a row that did not last
	For     time.Duration // since the child that was the last to last
	Err     error         // of the last try: an *ExitError or a *StartError
}

// Error is one line with the last failure at its end.
func (e *RestartError) Error() string {
	last := e.Err.Error()
	if exit := exited(e.Err); exit != nil {
		last = exit.story()
	}
	return fmt.Sprintf("bridge: %s was started again %d times in %s, and did not last: %s", e.Command, e.Tries, round(e.For), last)
}

// Is reports that a RestartError is ErrRestart.
func (e *RestartError) Is(target error) bool { return target == ErrRestart }

// Unwrap returns the last failure.
func (e *RestartError) Unwrap() error { return e.Err }

// turns bounds how many children of this process are starting at the same time: after a restart of everything, a hundred at once would all be
// too slow.
var turns = make(chan struct{}, max(4, 2*runtime.NumCPU()))

// turnLimit is how long a start may hold its turn: one that downloads for a minute must not hold up the others that long.
const turnLimit = 10 * time.Second

// turn waits for the turn to start a child. done gives it back, and may be called many times.
func turn(ctx context.Context) (done func(), err error) {
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return nil, cause(ctx, ctx.Err())
	}
	var once sync.Once
	give := func() { once.Do(func() { <-turns }) }
	late := time.AfterFunc(turnLimit, give)
	return func() {
		late.Stop()
		give()
	}, nil
}
