package wire

import (
	"context"
	"encoding/json"
	"sync"
)

// maxUnread is how many bytes may wait for a client that does not read.
const maxUnread = 2 * DefaultMaxMessage

// item is one message on its way to Read.
type item struct {
	raw     json.RawMessage
	in      *inbound // nil: it came from no stream
	seq     uint64   // of its last frame
	total   int      // the bytes of the stream up to it
	last    bool     // the response
	failure bool     // of the wire, not the server
}

// inbox is the queue between the bus, which never waits, and a client's Read.
type inbox struct {
	mu    sync.Mutex
	queue []item
	bytes int
	err   error
	wake  chan struct{} // holds one token when there is something new
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put adds a message; false if it had no room. After close it does nothing.
func (b *inbox) put(msg item) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return true
	}
	if len(b.queue) > 0 && b.bytes+len(msg.raw) > maxUnread {
		return false
	}
	b.queue = append(b.queue, msg)
	b.bytes += len(msg.raw)
	b.signal()
	return true
}

// close lets get return err once the queue is empty.
func (b *inbox) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		b.signal()
	}
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) get(ctx context.Context) (item, error) {
	for {
		b.mu.Lock()
		if len(b.queue) > 0 {
			msg := b.queue[0]
			b.queue[0] = item{}
			b.queue = b.queue[1:]
			b.bytes -= len(msg.raw)
			b.mu.Unlock()
			return msg, nil
		}
		err := b.err
		b.mu.Unlock()
		if err != nil {
			b.signal() // for whoever else waits
			return item{}, err
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return item{}, ctx.Err()
		}
	}
}
