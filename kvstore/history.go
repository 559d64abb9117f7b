package kvstore

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Line is one thing that happened, as a History keeps it.
type Line struct {
	Key   string // of what it happened to; a key as a Store's
	ID    string // the same for all who tell of the same thing
	Value []byte
	Time  time.Time // when it was appended first, by the store's clock; Append ignores it
}

// History keeps lines for a time, beside a log: for people, never to decide on. The oldest go when they are too old or too many. Every method may
// be called concurrently.
type History interface {
	// Append adds lines, in order. A line whose ID was appended within HistoryWindow is left out, so that many may append the same, and all of it may be
	// tried again. It returns when all are stored, else ErrUnknown, ErrUnavailable and the like: any of them may be stored then.
	Append(ctx context.Context, lines []Line) error

	// Read gives the lines of a key, or of all keys where it is "", that were appended at since or later, in the order in which they were stored. It has at least
	// all that was acknowledged before the call. It ends with an error where it cannot go on.
	Read(ctx context.Context, key string, since time.Time) iter.Seq2[Line, error]

	// Newest gives the newest line of each key, in no order.
	Newest(ctx context.Context) ([]Line, error)

	// Since tells after when nothing is missing: when the history was begun, or the time of what was dropped last. ok is false where there is none yet.
	Since(ctx context.Context) (since time.Time, ok bool, err error)
}

const (
	// HistoryWindow is for how long a line's ID is known.
	HistoryWindow = 2 * time.Minute
	// HistoryAge is how long lines are kept where nothing else is said.
	HistoryAge = 30 * 24 * time.Hour
	// HistoryBytes is how much is kept of them, together.
	HistoryBytes = 64 << 20
)

// HistoryOptions bound a history; nil works.
type HistoryOptions struct {
	MaxAge   time.Duration // 0 is HistoryAge
	MaxBytes int64         // 0 is HistoryBytes
	// JetStream are the ways to open one in NATS; Metadata is not used. Memory ignores it.
	JetStream *JetStreamOptions
}

func (o *HistoryOptions) orDefault() HistoryOptions {
	var out HistoryOptions
	if o != nil {
		out = *o
	}
	if out.MaxAge <= 0 {
		out.MaxAge = HistoryAge
	}
	if out.MaxBytes <= 0 {
		out.MaxBytes = HistoryBytes
	}
	return out
}

// checkLines is what every backend asks before it stores anything.
func checkLines(lines []Line) error {
	for _, l := range lines {
		if err := checkWrite(l.Key, l.Value, 0); err != nil {
			return err
		}
		if err := CheckKey(l.ID); err != nil {
			return fmt.Errorf("the id of a line: %w", err)
		}
	}
	return nil
}
