package bridge

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// Defaults of StdioOptions.
const (
	defaultStartTimeout = time.Minute // npx may have to download first
	defaultProbeTimeout = 3 * time.Second
	defaultMaxSessions  = 64
)

// StdioOptions says how a command is bridged. The zero value, and nil, are usable.
type StdioOptions struct {
	Child ChildOptions

	StartTimeout time.Duration // for the first child to become an MCP server; 0: a minute
	ProbeTimeout time.Duration // for its answer to server/discover; a server that takes longer is asked the legacy way; 0: 3 s
	MaxSessions  int           // how many legacy sessions may have a child at once; 0: 64
	Single       bool          // one child serves everybody: see Stdio

	ClientName, ClientVersion string // who the bridge says it is; "": toolbus, dev

	Logger *slog.Logger // nil: nothing is logged; also the children's, where Child has none
}

func (o *StdioOptions) withDefaults() *StdioOptions {
	if o == nil {
		o = &StdioOptions{}
	}
	c := *o
	if c.StartTimeout <= 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.ProbeTimeout <= 0 {
		c.ProbeTimeout = defaultProbeTimeout
	}
	if c.MaxSessions <= 0 {
		c.MaxSessions = defaultMaxSessions
	}
	if c.ClientName == "" {
		c.ClientName = "toolbus"
	}
	if c.ClientVersion == "" {
		c.ClientVersion = "dev"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Child.Logger == nil {
		c.Child.Logger = c.Logger
	}
	return &c
}

// Stdio serves with children of one command: a wire.Backend.
//
// The first child was initialised by Start; it serves the requests without a session, those of modern clients among them. Each legacy
// client that initializes gets a child of its own, because what a server offers depends on the client that initialized it, and because
// the server's own requests must find that client; the child ends with the session. With Single all of them share the first child, for
// servers that never talk back: a client's initialize is answered with what Start was told, and a request of the server's is refused.
//
// When the first child ends, Done is closed and Err says how: who has registered a name for the backend gives it up then.
type Stdio struct {
	command []string
	opts    *StdioOptions
	first   *Child
	info    servers.Info

	mu       sync.Mutex
	closed   bool
	sessions map[*Child]struct{} // starting ones are counted by starting
	starting int
	mux      *mux  // of the first child, once it has had more than one user
	lent     *loan // the first child as it is, for the first user; a later one has its ids replaced: the child may still answer the one before
	wg       sync.WaitGroup
}

var _ servers.Describer = (*Stdio)(nil)

// StartStdio starts command and returns when its first child is an initialised MCP server. The error is a *StartError, with the last lines
// on stderr in it; nothing is left running then. A command may be started up to three times on the way: a server that does not survive
// the question whether it is a modern one is not asked again, and one that answered it too late is. ctx covers the start. The caller must
// Close the backend.
func StartStdio(ctx context.Context, command []string, opts *StdioOptions) (*Stdio, error) {
	s := &Stdio{command: append([]string(nil), command...), opts: opts.withDefaults(), sessions: map[*Child]struct{}{}}
	first, info, err := s.initialise(ctx)
	if err != nil {
		return nil, err
	}
	s.first, s.info = first, *info
	return s, nil
}

// Info is what the server said about itself when it started.
func (s *Stdio) Info() servers.Info { return s.info }

// Describe is Info, for the host that registers the server.
func (s *Stdio) Describe(context.Context) (servers.Info, error) { return s.info, nil }

// Pid is the process id of the first child.
func (s *Stdio) Pid() int { return s.first.Pid() }

// Sessions is how many legacy sessions there are now.
func (s *Stdio) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Single && s.mux != nil {
		return s.mux.size()
	}
	return len(s.sessions)
}

// Done is closed when the first child has ended, for whatever reason, Close included.
func (s *Stdio) Done() <-chan struct{} { return s.first.Done() }

// Err is nil until Done, and then the first child's *ExitError.
func (s *Stdio) Err() error { return s.first.Err() }

// Shared returns a conversation with the first child, and ends the one that it returned before. Closing it leaves the child as it is. After the child's end it returns the
// *ExitError on every Read.
func (s *Stdio) Shared() wire.Pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opts.Single && s.lent == nil {
		s.lent = &loan{c: s.first, back: make(chan struct{})}
		return s.lent
	}
	if s.lent != nil {
		s.lent.Close()
	}
	return s.muxed().open(false)
}

// Open starts a child for one client, or, with Single, lets the client in on the first one. The error is a *BusyError when there are
// MaxSessions already, else a *StartError or ErrClosed of wire.
func (s *Stdio) Open(ctx context.Context) (wire.Pipe, error) {
	if s.opts.Single {
		return s.openSingle()
	}
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, wire.ErrClosed
	case len(s.sessions)+s.starting >= s.opts.MaxSessions:
		s.mu.Unlock()
		return nil, &BusyError{Command: strings.Join(s.command, " "), Max: s.opts.MaxSessions}
	}
	s.starting++
	s.wg.Add(1)
	s.mu.Unlock()

	c, err := StartChild(ctx, s.command, &s.opts.Child)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting--
	if err != nil {
		s.wg.Done()
		return nil, err
	}
	s.sessions[c] = struct{}{}
	go func() {
		defer s.wg.Done()
		<-c.gone
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, c)
	}()
	if s.closed {
		c.Close()
		return nil, wire.ErrClosed
	}
	return c, nil
}

// openSingle lets one client in on the first child.
func (s *Stdio) openSingle() (wire.Pipe, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, wire.ErrClosed
	}
	m := s.muxed()
	if m.size() >= s.opts.MaxSessions {
		return nil, &BusyError{Command: strings.Join(s.command, " "), Max: s.opts.MaxSessions}
	}
	return m.open(true), nil
}

// muxed makes the mux at its first use. s.mu is held.
func (s *Stdio) muxed() *mux {
	if s.mux == nil {
		s.mux = newMux(s.first, s.info, s.opts.Logger)
	}
	return s.mux
}

// Close ends all children, as Child.Close does, and waits until they are gone. When ctx ends first it returns ctx's error and the ending
// goes on without it.
func (s *Stdio) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	if s.mux != nil {
		s.mux.close()
	}
	s.first.Close()
	for c := range s.sessions {
		c.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wg.Wait()
		<-s.first.gone
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loan is the first child in the hands of one user, who gives it back by closing it.
type loan struct {
	c    *Child
	back chan struct{}
	once sync.Once
}

func (l *loan) Read(ctx context.Context) (json.RawMessage, error) { return l.c.read(ctx, l.back) }

func (l *loan) Write(ctx context.Context, msg json.RawMessage) error {
	select {
	case <-l.back:
		return io.ErrClosedPipe
	default:
		return l.c.Write(ctx, msg)
	}
}

func (l *loan) Close() error {
	l.once.Do(func() { close(l.back) })
	return nil
}
