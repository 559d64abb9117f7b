package kvstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// JetStreamCounters are Counters in a stream of their own, toolbus_<scope>_counters, on toolbus.counters.<scope>.<key>. NATS adds in the stream's leader, one
// message an add, and keeps no condition or TTL for it. The newest countersKept messages of each counter are kept: the id of an add that is sent again has
// to be found also after its server was started anew, when only what is stored is known.
//
// It uses a connection that somebody else owns and closes, has no goroutine, and needs no Close.
type JetStreamCounters struct{ b *beside }

var _ Counters = (*JetStreamCounters)(nil)

const (
	countersKept   = 64
	countersWindow = 2 * time.Minute // in which an add that is sent again is known; a call lasts less
	countersAtOnce = 1000            // below the 1,024 that NATS returns to one read
	headerAdd      = "Nats-Incr"
	headerID       = "Nats-Msg-Id"
	headerUpTo     = "Nats-UpTo-Sequence"
)

// OpenJetStreamCounters makes counters on nc, for a scope. It makes nothing in NATS: the first Add does. The options' Metadata is not used. Errors: ErrBadScope,
// ErrTooOld, ErrUnavailable.
func OpenJetStreamCounters(ctx context.Context, nc *nats.Conn, scope string, opts *JetStreamOptions) (*JetStreamCounters, error) {
	b, err := openBeside(ctx, nc, "counters", scope, opts)
	if err != nil {
		return nil, err
	}
	b.timeout = min(b.timeout, countersWindow/2)
	b.config.Description = "toolbus: the registry's counters"
	b.config.AllowMsgCounter = true
	b.config.MaxMsgsPerSubject = countersKept
	b.config.Duplicates = countersWindow
	return &JetStreamCounters{b}, nil
}

// counterAck is the answer to an add.
type counterAck struct {
	ack
	Value     string `json:"val"`
	Duplicate bool   `json:"duplicate"`
}

// Add implements Counters.
func (c *JetStreamCounters) Add(ctx context.Context, key string, delta int64) (int64, error) {
	if err := CheckKey(key); err != nil {
		return 0, err
	}
	msg := &nats.Msg{Subject: c.b.prefix + key, Header: nats.Header{headerAdd: {fmt.Sprintf("%+d", delta)}, headerID: {nuid.Next()}}}
	var a counterAck
	err := c.b.write(ctx, func(ctx context.Context) error {
		reply, err := c.b.nc.RequestMsgWithContext(ctx, msg)
		if err != nil {
			return c.b.sendError(err, msg.Subject)
		}
		a = counterAck{}
		if err := json.Unmarshal(reply.Data, &a); err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		if a.Error != nil {
			return a.Error.asError()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if !a.Duplicate {
		return parseSum(key, a.Value)
	}
	// An earlier try was counted, and its answer was lost: what it came to is in its message.
	ctx, cancel := c.b.limit(ctx)
	defer cancel()
	sum, err := retry(ctx, &c.b.door, func(ctx context.Context) (string, error) {
		sum, err := c.read(ctx, map[string]any{"seq": a.Sequence})
		if errors.Is(err, errNoMessage) {
			sum, err = c.read(ctx, map[string]any{"last_by_subj": msg.Subject})
		}
		return sum, err
	})
	if err != nil {
		return 0, fmt.Errorf("%w: it was counted, but its sum could not be read: %w", ErrUnknown, err)
	}
	return parseSum(key, sum)
}

// Get implements Counters.
func (c *JetStreamCounters) Get(ctx context.Context, key string) (int64, error) {
	if err := CheckKey(key); err != nil {
		return 0, err
	}
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := c.b.limit(ctx)
	defer cancel()
	sum, err := retry(ctx, &c.b.door, func(ctx context.Context) (string, error) {
		return c.read(ctx, map[string]any{"last_by_subj": c.b.prefix + key})
	})
	if errors.Is(err, errNoStream) || errors.Is(err, errNoMessage) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return parseSum(key, sum)
}

// read reads one message from the leader.
func (c *JetStreamCounters) read(ctx context.Context, request map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	var reply struct {
		Message struct {
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := c.b.api(ctx, "STREAM.MSG.GET."+c.b.stream, request, &reply); err != nil {
		return "", err
	}
	return sumOf(reply.Message.Data)
}

// List implements Counters. The leader says which counters there are and how far it has come; any replica that has come as far may give their values.
func (c *JetStreamCounters) List(ctx context.Context, pattern string) (map[string]int64, error) {
	if err := CheckPattern(pattern); err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := c.b.limit(ctx)
	defer cancel()
	sums, err := retry(ctx, &c.b.door, func(ctx context.Context) (map[string]int64, error) { return c.list(ctx, pattern) })
	if errors.Is(err, errNoStream) {
		return map[string]int64{}, nil
	}
	return sums, err
}

// list is one attempt at List.
func (c *JetStreamCounters) list(ctx context.Context, pattern string) (map[string]int64, error) {
	var subjects []string
	var last uint64
	for {
		info, err := c.b.info(ctx, c.b.prefix+pattern, len(subjects))
		if err != nil {
			return nil, err
		}
		last = max(last, info.State.LastSeq)
		for subject := range info.State.Subjects {
			subjects = append(subjects, subject)
		}
		if len(info.State.Subjects) == 0 || len(subjects) >= info.Total {
			break
		}
	}
	out := make(map[string]int64, len(subjects))
	for some := range slices.Chunk(subjects, countersAtOnce) {
		if err := c.values(ctx, some, last, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// values reads some counters from a replica that has everything up to a sequence, else errStale.
func (c *JetStreamCounters) values(ctx context.Context, subjects []string, upTo uint64, out map[string]int64) error {
	_, end, _, err := c.b.direct(ctx, map[string]any{"multi_last": subjects}, func(key string, _ uint64, msg *nats.Msg) error {
		text, err := sumOf(msg.Data)
		if err == nil {
			out[key], err = parseSum(key, text)
		}
		return err
	})
	if err != nil {
		return err
	}
	if have, err := strconv.ParseUint(value(end, headerUpTo), 10, 64); err != nil || have < upTo {
		return errStale // or they were purged since: the next attempt asks the leader again
	}
	return nil
}

// Purge implements Counters.
func (c *JetStreamCounters) Purge(ctx context.Context, pattern string) error {
	if err := CheckPattern(pattern); err != nil {
		return err
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	ctx, cancel := c.b.limit(ctx)
	defer cancel()
	_, err := retry(ctx, &c.b.door, func(ctx context.Context) (struct{}, error) {
		one, cancel := context.WithTimeout(ctx, infoTimeout)
		defer cancel()
		var reply struct{}
		return reply, c.b.api(one, "STREAM.PURGE."+c.b.stream, map[string]any{"filter": c.b.prefix + pattern}, &reply)
	})
	if errors.Is(err, errNoStream) {
		return nil
	}
	return err
}

// sumOf reads a counter's message.
func sumOf(data []byte) (string, error) {
	var body struct {
		Value string `json:"val"`
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return "", fmt.Errorf("%w: not a counter: %w", ErrForeign, err)
	}
	return body.Value, nil
}

func parseSum(key, text string) (int64, error) {
	sum, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return 0, fmt.Errorf("%w: %q holds %q, which is no number", ErrForeign, key, text)
	}
	return inRange(key, sum)
}
