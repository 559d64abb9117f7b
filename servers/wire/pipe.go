package wire

import (
	"context"
	"encoding/json"
	"io"
	"sync"
)

// Pipe is one end of one MCP conversation, as raw JSON-RPC messages: one message a call, no framing, no batches.
//
// Read is called by one goroutine at a time, Write by any number, Close many times. A message belongs to the pipe from the moment
// that Write is called with it, and to the caller once Read has returned it: neither side changes bytes that it has given away.
type Pipe interface {
	// Read waits for the next message. It returns io.EOF when the other side has closed, or an error that says why the
	// conversation ended (the exit status of a child and its last words, say); ctx's error when ctx ends first, and then the
	// conversation goes on. After an error other than ctx's every later Read returns one too.
	Read(ctx context.Context) (json.RawMessage, error)

	// Write hands one message over, in the order of the calls, and waits while the other side is slow. An error that wraps
	// *Error concerns this message alone; ctx's error means that this one was not taken; any other means that the
	// conversation has ended.
	Write(ctx context.Context, msg json.RawMessage) error

	// Close ends the conversation for both sides and lets a blocked Read and Write return. It does not wait.
	Close() error
}

// Backend is what an instance serves with: a Go server in this process, children that speak over their stdin, anything.
// Its methods may be called concurrently.
type Backend interface {
	// Shared gives the conversation that serves the requests of all callers without a session. The wire rewrites ids and
	// progress tokens so that several callers cannot meet in it, and restores them; what the backend needs to have said first
	// (an initialize for a legacy server) the backend has said itself, and its answer is kept from the wire. Serve calls it for
	// the first such request, and again for the next one after the pipe that it gave has ended. nil: no such requests are served.
	Shared() Pipe

	// Open starts a fresh conversation for one legacy client, which then says initialize on it: the wire passes it on. The
	// wire closes the pipe when the session ends. ctx covers the opening only. An error that wraps *Error goes to
	// the client as it is.
	Open(ctx context.Context) (Pipe, error)
}

// Pair makes a conversation in memory and returns its two ends. A Write waits while the other side has not read; closing one end
// is io.EOF at the other once it has read what was written before, and io.ErrClosedPipe at itself.
func Pair() (Pipe, Pipe) {
	a, b := make(chan json.RawMessage, pairBuffer), make(chan json.RawMessage, pairBuffer)
	x := &pair{in: a, out: b, done: make(chan struct{})}
	y := &pair{in: b, out: a, done: make(chan struct{})}
	x.peer, y.peer = y.done, x.done
	return x, y
}

// pairBuffer lets a writer run ahead a little: with none, each message is two switches of goroutine.
const pairBuffer = 16

type pair struct {
	in   <-chan json.RawMessage
	out  chan<- json.RawMessage
	done chan struct{}   // closed by Close here
	peer <-chan struct{} // closed by Close there
	once sync.Once
}

func (p *pair) Read(ctx context.Context) (json.RawMessage, error) {
	select {
	case msg := <-p.in:
		return msg, nil
	default:
	}
	select {
	case msg := <-p.in:
		return msg, nil
	case <-p.done:
		return nil, io.ErrClosedPipe
	case <-p.peer:
		select {
		case msg := <-p.in: // written before the close
			return msg, nil
		default:
			return nil, io.EOF
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pair) Write(ctx context.Context, msg json.RawMessage) error {
	select {
	case <-p.done:
		return io.ErrClosedPipe
	case <-p.peer:
		return io.ErrClosedPipe
	default:
	}
	select {
	case p.out <- msg:
		return nil
	case <-p.done:
		return io.ErrClosedPipe
	case <-p.peer:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pair) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}
