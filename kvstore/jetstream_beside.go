package kvstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// beside is a stream beside a log, with subjects of its own: counters, or the history. The first write makes it.
type beside struct {
	door
	stream   string
	prefix   string // of its subjects, with the dot
	replicas int
	config   jetstream.StreamConfig // without the replicas
	ready    atomic.Bool
	making   chan struct{}
}

// besideInfo is what the server says of such a stream.
type besideInfo struct {
	jetstream.StreamInfo
	Total int `json:"total"` // subjects, where they were asked for in pages
}

func openBeside(ctx context.Context, nc *nats.Conn, what, scope string, opts *JetStreamOptions) (*beside, error) {
	if opts == nil {
		opts = &JetStreamOptions{}
	}
	if !validScope(scope) {
		return nil, fmt.Errorf("%w: %q (1 to 64 of [A-Za-z0-9_-])", ErrBadScope, scope)
	}
	b := &beside{
		door: openDoor(nc, opts.Timeout, opts.Logger), stream: "toolbus_" + scope + "_" + what, prefix: "toolbus." + what + "." + scope + ".",
		replicas: opts.Replicas, making: make(chan struct{}, 1),
	}
	b.config = jetstream.StreamConfig{
		Name: b.stream, Subjects: []string{b.prefix + ">"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardOld, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, AllowDirect: true,
		Metadata: map[string]string{metadataVersion: "1"},
	}
	ctx, cancel := b.limit(ctx)
	defer cancel()
	if err := b.connected(ctx); err != nil {
		return nil, err
	}
	return b, checkServer(nc.ConnectedServerVersion())
}

// info asks the stream's leader once; with a filter also for the subjects that match, from one on.
func (b *beside) info(ctx context.Context, filter string, offset int) (*besideInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	var request any
	if filter != "" {
		request = map[string]any{"subjects_filter": filter, "offset": offset}
	}
	info := &besideInfo{}
	return info, b.api(ctx, "STREAM.INFO."+b.stream, request, info)
}

// ensure looks once whether the stream is there, and makes it if it is not.
func (b *beside) ensure(ctx context.Context) error {
	if b.ready.Load() {
		return nil
	}
	select {
	case b.making <- struct{}{}:
		defer func() { <-b.making }()
	case <-ctx.Done():
		return ErrUnavailable
	}
	if b.ready.Load() {
		return nil
	}
	info, err := b.info(ctx, "", 0)
	switch {
	case errors.Is(err, errNoStream):
		err = b.place(b.replicas, func(replicas int) error {
			config := b.config
			config.Replicas = replicas
			return b.api(ctx, "STREAM.CREATE."+b.stream, config, &jetstream.StreamInfo{})
		})
		if err == nil {
			b.log.Info("made a stream", "stream", b.stream)
		}
	case err == nil:
		c := &info.Config
		if !slices.Equal(c.Subjects, b.config.Subjects) || c.AllowMsgCounter != b.config.AllowMsgCounter || !c.AllowDirect || c.Retention != b.config.Retention ||
			c.Sealed || c.NoAck || c.Mirror != nil || len(c.Sources) > 0 || c.SubjectTransform != nil {
			err = fmt.Errorf("%w: %s is configured otherwise", ErrForeign, b.stream)
		}
	}
	if err == nil {
		b.ready.Store(true)
	}
	return err
}

// write makes attempts at a write that can be done again, as its messages carry ids, until one has an outcome or ctx ends. It
// is ErrUnknown then if any of them may have been stored.
func (b *beside) write(ctx context.Context, attempt func(context.Context) error) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	ctx, cancel := b.limit(ctx)
	defer cancel()
	var last, sent error
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := b.connected(ctx)
		if err == nil {
			err = b.ensure(ctx)
		}
		if err == nil {
			one, cancel := context.WithTimeout(ctx, infoTimeout)
			err = attempt(one)
			cancel()
		}
		switch {
		case err == nil:
			return nil
		case unknown(err):
			sent = err
		case errors.Is(err, errNoResponders), errors.Is(err, errNoStream): // it may be gone: the next attempt finds out
			b.ready.Store(false)
		case !passing(err):
			return cmp.Or(sent, err)
		}
		if ctx.Err() == nil {
			last = err
		}
		if b.nc.IsClosed() || !sleep(ctx, pause) {
			return cmp.Or(sent, waitError(ctx, last))
		}
	}
}

// direct reads a page of messages from whichever replica answers, in order. It returns the last one's sequence, the headers of the page's end, and whether
// there is another page.
func (b *beside) direct(ctx context.Context, request map[string]any, each func(key string, seq uint64, msg *nats.Msg) error) (last uint64, end nats.Header, more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return 0, nil, false, b.readError(err, inbox)
	}
	defer sub.Unsubscribe()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return 0, nil, false, b.readError(err, inbox)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return 0, nil, false, err
	}
	subject := apiPrefix + "DIRECT.GET." + b.stream
	if err := b.nc.PublishRequest(subject, inbox, body); err != nil {
		return 0, nil, false, b.readError(err, subject)
	}
	for {
		msg, err := nextWithin(ctx, sub, pageTimeout)
		if err != nil {
			return last, nil, false, b.readError(err, subject)
		}
		switch status := value(msg.Header, "Status"); status {
		case "":
		case "204":
			if value(msg.Header, headerPrevious) != strconv.FormatUint(last, 10) {
				return last, nil, false, fmt.Errorf("%w: a page with a hole at its end", errStale)
			}
			return last, msg.Header, value(msg.Header, headerPending) != "0", nil
		case "404":
			return last, msg.Header, false, nil
		case "503":
			return last, nil, false, errNoResponders
		default:
			return last, nil, false, fmt.Errorf("%w: direct get: %s %s", ErrUnavailable, status, value(msg.Header, "Description"))
		}
		if value(msg.Header, headerPrevious) != strconv.FormatUint(last, 10) {
			return last, nil, false, fmt.Errorf("%w: a page with a hole after %d", errStale, last)
		}
		if last, err = strconv.ParseUint(value(msg.Header, headerSequence), 10, 64); err != nil {
			return last, nil, false, fmt.Errorf("%w: a message without a sequence", errStale)
		}
		if err := each(keyOf(value(msg.Header, headerSubject), b.prefix), last, msg); err != nil {
			return last, nil, false, err
		}
	}
}
