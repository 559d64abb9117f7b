package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// Bus is the side of the server.
type Bus interface {
	// Dial makes a fresh conversation with whoever has the target.
	Dial() (wire.Pipe, error)
	// Await returns once somebody is registered for the target: at once where somebody is. Else it returns ctx's error.
	Await(ctx context.Context) error
	// Missing says that nobody is there.
	Missing() *wire.Error
	// Translated makes a conversation in which a legacy client is understood by a server that is modern only.
	Translated() (wire.Pipe, error)
}

// Options are those of a shim; nil is all defaults.
type Options struct {
	// Wait is how long requests wait for a server that is not there, from the moment that it was missed (0: 10 s; negative: not at all).
	Wait time.Duration
	// NoRecreate ends the shim when a session's instance has ended, instead of making the session again on another.
	NoRecreate bool
	MaxMessage int // the largest message in bytes (0: wire.DefaultMaxMessage)
	Logger     *slog.Logger
}

// ErrSessionEnded is why Run ended though the client had not: its session ended and was not, or could not be, made again.
var ErrSessionEnded = errors.New("shim: the session has ended")

const (
	defaultWait = 10 * time.Second
	linger      = time.Second // for answers under way when the client has closed its side
	firstPause  = 20 * time.Millisecond
	longPause   = 2 * time.Second
	maxBacklog  = 64 << 20 // bytes that wait for a server
)

// shim is one client. The client's messages pass through fromClient, on one goroutine; the server's through fromBus, on one for each
// conversation; mend brings the server back.
type shim struct {
	bus  Bus
	opts Options
	out  *lineWriter
	log  *slog.Logger

	ctx  context.Context // ends with Run
	stop context.CancelCauseFunc
	work sync.WaitGroup

	mu         sync.Mutex
	pipe       wire.Pipe // nil: there is none
	epoch      int       // counts pipes
	pending    map[string]*request
	asked      map[string]question // the server's requests, by their id as the client sees it
	renamed    int
	session    session
	translated bool            // the server is modern only, the client is not
	tools      map[string]bool // those that may be called again, of the lists that passed

	down    bool // what the client says waits
	mending bool
	backlog []*request
	waiting int           // bytes in the backlog
	room    chan struct{} // closed when a full backlog has room again; nil: it has
	failing bool          // the wait is over: requests are answered with an error
	trouble int           // outages in a row without an answer between them
	why     *wire.Error   // of the outage

	eof   bool          // the client has closed its side
	quiet chan struct{} // closed when nothing is owed any more after that
}

// request is one of the client's that has no answer yet.
type request struct {
	raw    json.RawMessage
	id     json.RawMessage
	method string
	target string
	batch  *batch
	sent   bool
	tries  int
	until  time.Time // it is sent again no later; zero: it never was
}

// question is a request of the server's that the client has not answered.
type question struct {
	epoch int
	id    json.RawMessage // as the server wrote it
}

// Run relays between a client, of which in and out are the server's ends, and bus, until the client closes in: then it says good-bye and returns nil, as it does when out is
// broken. It returns ctx's cause when ctx ends first, and an error that wraps ErrSessionEnded when the session cannot go on.
//
// in is read to its end by a goroutine that Run does not wait for when it ends for another reason; nor does it wait for a Write that blocks.
func Run(ctx context.Context, in io.Reader, out io.Writer, bus Bus, opts *Options) error {
	if opts == nil {
		opts = &Options{}
	}
	s := &shim{
		bus: bus, opts: *opts, log: opts.Logger, pending: map[string]*request{}, asked: map[string]question{}, tools: map[string]bool{},
		down: true, quiet: make(chan struct{}),
	}
	if s.opts.Wait == 0 {
		s.opts.Wait = defaultWait
	}
	if s.opts.MaxMessage <= 0 {
		s.opts.MaxMessage = wire.DefaultMaxMessage
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.stop = context.WithCancelCause(ctx)
	s.out = newLineWriter(out, func(err error) { s.stop(errClientGone) })
	closed := make(chan error, 1)
	s.mu.Lock()
	s.mending = true
	s.mu.Unlock()
	s.work.Go(s.mend)
	go func() { closed <- s.readClient(in) }()
	var err error
	select {
	case err = <-closed:
		s.lingerOn()
	case <-s.ctx.Done():
		err = context.Cause(s.ctx)
	}
	s.stop(errClientGone)
	s.mu.Lock()
	pipe := s.pipe
	s.pipe = nil
	s.mu.Unlock()
	if pipe != nil {
		_ = pipe.Close() // says good-bye
	}
	s.out.finish(linger)
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(linger): // a Write that blocks: the client does not read
	}
	if errors.Is(err, errClientGone) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

var errClientGone = errors.New("shim: the client is gone")

// lingerOn gives answers that are under way a moment when the client has closed its side: some write all that they want to know, and then close.
func (s *shim) lingerOn() {
	s.mu.Lock()
	s.eof = true
	s.settle()
	s.mu.Unlock()
	select {
	case <-s.quiet:
	case <-time.After(linger):
	case <-s.ctx.Done():
	}
}

// settle notes that nothing is owed any more. s.mu is held.
func (s *shim) settle() {
	if s.eof && len(s.pending) == 0 && len(s.backlog) == 0 {
		select {
		case <-s.quiet:
		default:
			close(s.quiet)
		}
	}
}

// answer gives the client a response, by itself or in its batch.
func (s *shim) answer(r *request, raw json.RawMessage, write func(json.RawMessage)) {
	if r.batch == nil {
		write(raw)
		return
	}
	s.mu.Lock()
	whole := r.batch.add(raw)
	s.mu.Unlock()
	if whole != nil {
		write(whole)
	}
}

// refuse answers a request with an error of ours.
func (s *shim) refuse(r *request, err *wire.Error) {
	s.answer(r, err.Response(r.id), s.out.later)
}

func sessionEnded(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSessionEnded, fmt.Sprintf(format, args...))
}
