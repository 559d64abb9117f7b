package kvstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pageMessages and pageBytes bound one read. The server holds back writes of a replica while it reads, and what it reads must fit what
	// it may hold for one slow connection.
	pageMessages = 20000
	pageBytes    = 8 << 20
	// pageTimeout is how long a replica may be silent in the middle of a page.
	pageTimeout = 2 * time.Second
	// staleTries is how often the end of a log is read again before the whole snapshot is.
	staleTries = 20
)

// snapshot is the state of the log at one revision.
type snapshot struct {
	log      string
	info     *jetstream.StreamInfo
	entries  []Entry
	revision Revision
}

// errStale: what answered does not have all that it must; another time, or another replica, will.
var errStale = fmt.Errorf("%w: the replica is behind", ErrUnavailable)

// logName names a log by its making: a stream that was deleted and made anew has another.
func logName(info *jetstream.StreamInfo) string { return info.Created.UTC().Format(time.RFC3339Nano) }

// snapshot reads the newest entry of every key, with everything up to at least revision atLeast and up to what the leader had
// when it was asked. One attempt: errStale and other passing errors may be tried again; errNoStream if there is no log.
//
// The log keeps one message a key, so reading the stream from end to end is a snapshot. Any replica answers a page, each with a state of its own, and
// a page is read in isolation from writes (also from half of an atomic batch). One page is therefore exact. With several, a key written in
// between may be missed in its old place by one page and in its new place by an earlier end; so the last page must be one
// that holds everything the leader had when all others had been read.
func (s *JetStream) snapshot(ctx context.Context, atLeast Revision) (*snapshot, error) {
	before, err := s.info(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.foreign(before); err != nil {
		return nil, err
	}
	snap := &snapshot{log: logName(before), info: before}
	want := max(atLeast, Revision(before.State.LastSeq))
	newest := make(map[string]Entry, before.State.Msgs)
	var end pageEnd
	for from, again := Revision(1), 0; ; from = end.last + 1 {
		if from > 1 {
			// The page to come is exact for all that lies behind it only if it reaches this.
			info, err := s.info(ctx)
			if err != nil {
				return nil, err
			}
			want = max(want, Revision(info.State.LastSeq))
		}
		if end, err = s.page(ctx, from, end, newest); err != nil {
			return nil, err
		}
		if end.more {
			continue
		}
		snap.revision, err = s.settle(ctx, end, want)
		if err == nil {
			break
		}
		// A replica that is behind is so for milliseconds; what comes is read on from here.
		if again++; !errors.Is(err, errStale) || again == staleTries || !sleep(ctx, firstPause/2) {
			return nil, err
		}
	}
	after, err := s.info(ctx)
	if err != nil {
		return nil, err
	}
	if logName(after) != snap.log {
		return nil, fmt.Errorf("%w: the log was made anew", errStale)
	}
	snap.entries = make([]Entry, 0, len(newest))
	for _, e := range newest {
		snap.entries = append(snap.entries, e)
	}
	s.saw(snap.revision)
	return snap, nil
}

// settle decides about a read that came to an end before or at want: it is whole; or the entries between have vanished without a successor,
// which the leader knows; or the replica is behind (errStale).
func (s *JetStream) settle(ctx context.Context, end pageEnd, want Revision) (Revision, error) {
	if end.last >= want {
		if !end.whole {
			return 0, fmt.Errorf("%w: half a batch at %d", errStale, end.last)
		}
		return end.last, nil
	}
	e, err := s.leaderGet(ctx, map[string]any{"seq": uint64(end.last) + 1, "next_by_subj": s.names.keys + ">"})
	switch {
	case errors.Is(err, errNoMessage):
		return want, nil
	case err != nil:
		return 0, err
	}
	return 0, fmt.Errorf("%w: at %d, the leader has %d", errStale, end.last, e.Revision)
}

// pageEnd tells where a page ended.
type pageEnd struct {
	last  Revision // the newest entry seen so far
	whole bool     // it is not in the middle of an atomic batch
	more  bool     // there is another page
}

// page reads the entries from a revision on into newest.
func (s *JetStream) page(ctx context.Context, from Revision, end pageEnd, newest map[string]Entry) (pageEnd, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inbox := s.nc.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return end, s.readError(err, inbox)
	}
	defer sub.Unsubscribe()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return end, s.readError(err, inbox)
	}
	request, err := json.Marshal(map[string]any{"seq": uint64(from), "batch": s.pageMessages, "max_bytes": pageBytes})
	if err != nil {
		return end, err
	}
	subject := apiPrefix + "DIRECT.GET." + s.names.stream
	if err := s.nc.PublishRequest(subject, inbox, request); err != nil {
		return end, s.readError(err, subject)
	}
	var previous uint64
	for {
		msg, err := nextWithin(ctx, sub, pageTimeout)
		if err != nil {
			return end, s.readError(err, subject)
		}
		switch status := value(msg.Header, "Status"); status {
		case "":
		case "204":
			if value(msg.Header, headerPrevious) != strconv.FormatUint(previous, 10) {
				return end, fmt.Errorf("%w: a page with a hole at its end", errStale)
			}
			end.more = value(msg.Header, headerPending) != "0"
			return end, nil
		case "404":
			end.more, end.whole = false, true
			return end, nil
		case "503":
			return end, errNoResponders
		default:
			return end, fmt.Errorf("%w: direct get: %s %s", ErrUnavailable, status, value(msg.Header, "Description"))
		}
		e, ok := parseEntry(keyOf(value(msg.Header, headerSubject), s.names.keys), msg.Header, msg.Data)
		if !ok || value(msg.Header, headerPrevious) != strconv.FormatUint(previous, 10) {
			return end, fmt.Errorf("%w: a page with a hole after %d", errStale, previous)
		}
		previous = uint64(e.Revision)
		if old, had := newest[e.Key]; !had || old.Revision < e.Revision {
			newest[e.Key] = e
		}
		end.last = max(end.last, e.Revision)
		_, _, end.whole = batchOf(msg.Header)
	}
}

func nextWithin(ctx context.Context, sub *nats.Subscription, d time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	return msg, err
}
