package kvstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"sort"
	"strings"
	"time"

	"bufio"

	"github.com/nats-io/nats.go"
)

// Get implements Store. It asks the leader, not the nearest replica.
func (s *JetStream) Get(ctx context.Context, key string) (Entry, error) {
	if err := CheckKey(key); err != nil {
		return Entry{}, err
	}
	if err := checkContext(ctx); err != nil {
		return Entry{}, err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	e, err := retry(ctx, &s.door, func(ctx context.Context) (Entry, error) {
		return s.leaderGet(ctx, map[string]any{"last_by_subj": s.names.keys + key})
	})
	if errors.Is(err, errNoStream) || errors.Is(err, errNoMessage) || err == nil && e.Tombstone() {
		return Entry{}, fmt.Errorf("%w: %q", ErrNotFound, key)
	}
	return e, err
}

// leaderGet reads one message from the leader.
func (s *JetStream) leaderGet(ctx context.Context, request map[string]any) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	var reply struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   string    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := s.api(ctx, "STREAM.MSG.GET."+s.names.stream, request, &reply); err != nil {
		return Entry{}, err
	}
	m := &reply.Message
	header, err := decodeHeader(m.Header)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %s at %d: %w", ErrForeign, m.Subject, m.Sequence, err)
	}
	s.saw(Revision(m.Sequence))
	return Entry{Key: keyOf(m.Subject, s.names.keys), Value: m.Data, Revision: Revision(m.Sequence), Operation: operation(header), Time: m.Time}, nil
}

// decodeHeader reads a stored message's headers as the API gives them: base64 of NATS' wire form.
func decodeHeader(encoded string) (nats.Header, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	_, lines, _ := bytes.Cut(raw, []byte("\r\n"))
	h := make(nats.Header)
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(lines)))
	for {
		line, err := r.ReadLine()
		if err != nil || line == "" {
			return h, nil
		}
		if name, v, ok := strings.Cut(line, ":"); ok {
			h[name] = append(h[name], strings.TrimSpace(v))
		}
	}
}

// List implements Store. It reads the whole log and keeps what has the prefix: only so is the list true at one revision.
func (s *JetStream) List(ctx context.Context, prefix string) ([]Entry, Revision, error) {
	if err := checkContext(ctx); err != nil {
		return nil, 0, err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	snap, err := retry(ctx, &s.door, func(ctx context.Context) (*snapshot, error) { return s.snapshot(ctx, 0) })
	if errors.Is(err, errNoStream) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var list []Entry
	for _, e := range snap.entries {
		if !e.Tombstone() && strings.HasPrefix(e.Key, prefix) {
			list = append(list, e)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	return list, snap.revision, nil
}
