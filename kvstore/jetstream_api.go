package kvstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	apiPrefix = "$JS.API."
	// infoTimeout is how long one question to the JetStream API may take before it is asked again: a leader that is gone
	// answers nothing.
	infoTimeout = 2 * time.Second
	// firstPause and lastPause bound the wait before a call is tried again.
	firstPause = 10 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// door is a connection as the stores of this package use it: somebody else's, who closes it.
type door struct {
	nc      *nats.Conn
	timeout time.Duration
	log     *slog.Logger
}

func openDoor(nc *nats.Conn, timeout time.Duration, log *slog.Logger) door {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return door{nc, timeout, log}
}

// limit gives a call the store's timeout.
func (d *door) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.timeout)
}

// connected waits until the connection is up. Nothing is ever handed to a connection that is down: it could be sent much later.
func (d *door) connected(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		switch {
		case d.nc.IsConnected():
			return nil
		case d.nc.IsClosed(), d.nc.IsDraining():
			return fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrConnectionClosed)
		}
		if !sleep(ctx, pause) {
			return fmt.Errorf("%w: not connected: %w", ErrUnavailable, context.Cause(ctx))
		}
	}
}

// sleep waits about d and tells whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// api asks the JetStream API one question and reads the answer into reply. It does not change anything by itself, so a timeout
// is ErrUnavailable; who sends a change knows better.
func (d *door) api(ctx context.Context, subject string, request, reply any) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return fmt.Errorf("kvstore: %s: %w", subject, err)
		}
	}
	if err := d.connected(ctx); err != nil {
		return err
	}
	subject = apiPrefix + subject
	msg, err := d.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return d.readError(err, subject)
	}
	var answer struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, subject, err)
	}
	if answer.Error != nil {
		return &refusal{answer.Error}
	}
	if err := json.Unmarshal(msg.Data, reply); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, subject, err)
	}
	return nil
}

// refusal is an answer of the API that is an error, for who needs its code; to everybody else it is the error it stands for.
type refusal struct{ api *apiError }

func (r *refusal) Error() string { return r.api.asError().Error() }
func (r *refusal) Unwrap() error { return r.api.asError() }

// refused tells whether err is the API's refusal with this code.
func refused(err error, code int) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.api.ErrCode == code
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}
