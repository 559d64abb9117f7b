package kvstore

import (
	"context"
	"fmt"
	"time"
)

// checkWrite is what every backend asks of one write before it sends or changes anything.
func checkWrite(key string, value []byte, ttl time.Duration) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return fmt.Errorf("%w: %d bytes for %q, %d at most", ErrTooLarge, len(value), key, MaxValue)
	}
	if ttl < 0 {
		return fmt.Errorf("%w: %v for %q", ErrBadTTL, ttl, key)
	}
	return nil
}

// checkRevised is checkWrite for a write that needs a real revision.
func checkRevised(key string, value []byte, ttl time.Duration, rev Revision) error {
	if rev == 0 {
		return fmt.Errorf("%w: %q", ErrBadRevision, key)
	}
	return checkWrite(key, value, ttl)
}

// checkBatch asks the same of every op of a batch, and of the batch as a whole.
func checkBatch(ops []Op) error {
	if len(ops) == 0 {
		return ErrEmptyBatch
	}
	if len(ops) > MaxBatch {
		return fmt.Errorf("%w: %d ops, %d at most", ErrBatchTooLarge, len(ops), MaxBatch)
	}
	seen := make(map[string]struct{}, len(ops))
	for _, op := range ops {
		ttl := op.TTL
		if op.Delete {
			if op.Revision == 0 {
				return fmt.Errorf("%w: %q", ErrBadRevision, op.Key)
			}
			ttl = 0
		}
		if err := checkWrite(op.Key, op.Value, ttl); err != nil {
			return err
		}
		if _, twice := seen[op.Key]; twice {
			return fmt.Errorf("%w: twice in one batch: %q", ErrBadKey, op.Key)
		}
		seen[op.Key] = struct{}{}
	}
	return nil
}

// checkContext refuses a call whose context has ended before anything was sent.
func checkContext(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("%w: nothing sent: %w", ErrUnavailable, err)
	}
	return nil
}

// wholeSeconds rounds a TTL up: stores count in whole seconds, and NATS would cut the rest off.
func wholeSeconds(ttl time.Duration) time.Duration {
	return (ttl + time.Second - 1).Truncate(time.Second)
}

// firstRevision is where a new log begins. Revisions are given out far more slowly than a million a second, so a log made anew under
// the same name begins above all that the old one gave out.
func firstRevision(now time.Time) Revision {
	return Revision(now.UnixMilli()) * 1000
}
