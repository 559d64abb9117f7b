package era

import (
	"context"
	"encoding/json"
	"sync"
)

// queue is what goes to one reader. put never waits: who puts also reads for others, and must not be held up by one that is slow.
type queue struct {
	mu    sync.Mutex
	items []json.RawMessage
	more  chan struct{} // something was put
	done  chan struct{}
	err   error
}

func newQueue() *queue {
	return &queue{more: make(chan struct{}, 1), done: make(chan struct{})}
}

func (q *queue) put(msg json.RawMessage) {
	q.mu.Lock()
	if q.err == nil {
		q.items = append(q.items, msg)
	}
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// read waits for the next message. What was put before the end is still read.
func (q *queue) read(ctx context.Context) (json.RawMessage, error) {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			msg := q.items[0]
			q.items[0] = nil
			q.items = q.items[1:]
			q.mu.Unlock()
			return msg, nil
		}
		err := q.err
		q.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-q.more:
		case <-q.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// end ends the queue for its reader. The first error counts.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		close(q.done)
	}
}
