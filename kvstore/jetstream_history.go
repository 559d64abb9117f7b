package kvstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStreamHistory is a History in a stream of its own, toolbus_<scope>_history, on toolbus.history.<scope>.<key>. Lines are published to it by who has seen the
// log: a stream that sources the bucket, or captures its feed, loses almost all of it, as the headers of the log's entries are conditions there too.
//
// It uses a connection that somebody else owns and closes, has no goroutine, and needs no Close.
type JetStreamHistory struct{ b *beside }

var _ History = (*JetStreamHistory)(nil)

const (
	linesAtOnce = 256 // published before their acknowledgements are waited for
	linesPage   = 2000
)

// OpenJetStreamHistory makes a history on nc, for a scope. It makes nothing in NATS: the first Append does, and bounds it. Errors: ErrBadScope, ErrTooOld, ErrUnavailable.
func OpenJetStreamHistory(ctx context.Context, nc *nats.Conn, scope string, opts *HistoryOptions) (*JetStreamHistory, error) {
	o := opts.orDefault()
	b, err := openBeside(ctx, nc, "history", scope, o.JetStream)
	if err != nil {
		return nil, err
	}
	b.config.Description = "toolbus: who held which name"
	b.config.MaxAge, b.config.MaxBytes = o.MaxAge, o.MaxBytes
	b.config.Duplicates = min(HistoryWindow, o.MaxAge)
	b.config.Compression = jetstream.S2Compression
	return &JetStreamHistory{b}, nil
}

// Append implements History.
func (h *JetStreamHistory) Append(ctx context.Context, lines []Line) error {
	if err := checkLines(lines); err != nil {
		return err
	}
	for len(lines) > 0 {
		n := min(len(lines), linesAtOnce)
		if err := h.b.write(ctx, func(ctx context.Context) error { return h.publish(ctx, lines[:n]) }); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}

// publish sends lines, then waits for all their acknowledgements.
func (h *JetStreamHistory) publish(ctx context.Context, lines []Line) error {
	inbox := h.b.nc.NewInbox()
	sub, err := h.b.nc.SubscribeSync(inbox)
	if err != nil {
		return h.b.readError(err, inbox)
	}
	defer sub.Unsubscribe()
	for _, l := range lines {
		msg := &nats.Msg{Subject: h.b.prefix + l.Key, Reply: inbox, Data: l.Value, Header: nats.Header{headerID: {l.ID}}}
		if err := h.b.nc.PublishMsg(msg); err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, h.b.sendError(err, msg.Subject))
		}
	}
	var refused error
	for range lines {
		reply, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		var a ack
		switch {
		case value(reply.Header, "Status") == "503":
			refused = errNoResponders
		case json.Unmarshal(reply.Data, &a) != nil:
			refused = fmt.Errorf("%w: an acknowledgement that cannot be read: %.80q", ErrUnknown, reply.Data)
		case a.Error != nil:
			refused = a.Error.asError()
		}
	}
	return refused
}

// Read implements History. Any replica may answer a page, but the end is one only if the leader has no more.
func (h *JetStreamHistory) Read(ctx context.Context, key string, since time.Time) iter.Seq2[Line, error] {
	subject := h.b.prefix + key
	if key == "" {
		subject = h.b.prefix + ">"
	}
	return func(yield func(Line, error) bool) {
		if key != "" {
			if err := CheckKey(key); err != nil {
				yield(Line{}, err)
				return
			}
		}
		if err := checkContext(ctx); err != nil {
			yield(Line{}, err)
			return
		}
		for from := uint64(0); ; {
			page, end, err := h.page(ctx, subject, from, since)
			if errors.Is(err, errNoStream) {
				return
			}
			if err != nil {
				yield(Line{}, err)
				return
			}
			for _, l := range page {
				if !l.Time.Before(since) && !yield(l, nil) {
					return
				}
			}
			if end == 0 {
				return
			}
			from = end
		}
	}
}

// page reads some lines and says from where to read on; 0: there are no more.
func (h *JetStreamHistory) page(ctx context.Context, subject string, from uint64, since time.Time) (page []Line, next uint64, err error) {
	ctx, cancel := h.b.limit(ctx)
	defer cancel()
	request := map[string]any{"next_by_subj": subject, "batch": linesPage, "max_bytes": pageBytes}
	switch {
	case from > 0:
		request["seq"] = from
	case !since.IsZero():
		request["start_time"] = since.UTC()
	default:
		request["seq"] = 1
	}
	type result struct {
		lines []Line
		next  uint64
	}
	r, err := retry(ctx, &h.b.door, func(ctx context.Context) (r result, err error) {
		last, _, more, err := h.b.direct(ctx, request, func(key string, _ uint64, msg *nats.Msg) error {
			l := Line{Key: key, ID: value(msg.Header, headerID), Value: msg.Data}
			l.Time, _ = time.Parse(time.RFC3339Nano, value(msg.Header, headerTime))
			r.lines = append(r.lines, l)
			return nil
		})
		if err != nil {
			if errors.Is(err, errNoResponders) { // no replica, or no stream
				if _, e := h.b.info(ctx, "", 0); errors.Is(e, errNoStream) {
					return r, e
				}
			}
			return r, err
		}
		if more {
			r.next = last + 1
			return r, nil
		}
		more, err = h.leaderHas(ctx, subject, max(last+1, from), since)
		if err == nil && more {
			if last == 0 {
				return r, errStale
			}
			r.next = last + 1
		}
		return r, err
	})
	return r.lines, r.next, err
}

// leaderHas tells whether the leader has a line from a sequence on that was stored at since or later.
func (h *JetStreamHistory) leaderHas(ctx context.Context, subject string, from uint64, since time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	request := map[string]any{"next_by_subj": subject, "seq": max(from, 1)}
	if from <= 1 && !since.IsZero() { // nothing was found: ask by time
		request = map[string]any{"next_by_subj": subject, "start_time": since.UTC()}
	}
	var reply struct {
		Message struct {
			Sequence uint64 `json:"seq"`
		} `json:"message"`
	}
	err := h.b.api(ctx, "STREAM.MSG.GET."+h.b.stream, request, &reply)
	if errors.Is(err, errNoMessage) {
		return false, nil
	}
	return err == nil, err
}

// Newest implements History. It reads all of it.
func (h *JetStreamHistory) Newest(ctx context.Context) ([]Line, error) {
	newest := map[string]Line{}
	for l, err := range h.Read(ctx, "", time.Time{}) {
		if err != nil {
			return nil, err
		}
		newest[l.Key] = l
	}
	out := make([]Line, 0, len(newest))
	for _, l := range newest {
		out = append(out, l)
	}
	return out, nil
}

// Since implements History.
func (h *JetStreamHistory) Since(ctx context.Context) (time.Time, bool, error) {
	if err := checkContext(ctx); err != nil {
		return time.Time{}, false, err
	}
	ctx, cancel := h.b.limit(ctx)
	defer cancel()
	info, err := retry(ctx, &h.b.door, func(ctx context.Context) (*besideInfo, error) { return h.b.info(ctx, "", 0) })
	switch {
	case errors.Is(err, errNoStream):
		return time.Time{}, false, nil
	case err != nil:
		return time.Time{}, false, err
	case info.State.FirstSeq <= 1:
		return info.Created, true, nil // nothing was dropped yet
	case info.State.Msgs == 0:
		return time.Now().Add(-info.Config.MaxAge), true, nil // all of it was, by age
	}
	return info.State.FirstTime, true, nil
}
