package bridge

import (
	"context"
	"errors"
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

	Restart Restart        // what becomes of a first child that ends by itself; "": OnFailure
	Backoff RestartOptions // how it is started again

	// Lazy starts the first child with the first request. What it is, is known from Described, where that is given, else from a child that
	// is started once, asked, and ended again.
	Lazy      bool
	Described *servers.Info // as Describe returned it
	Idle      time.Duration // after so long without a request or a listener the first child is ended, until the next request; 0: never

	LogLines int // how many of the last lines on the children's stderr are kept for Logs; 0: 1000

	ClientName, ClientVersion string // who the bridge says it is; "": toolbus, dev

	Logger *slog.Logger // nil: nothing is logged; also the children's, where Child has none

	anonymous bool // what is said of the server is said of several: not of this one's children
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
	if c.Restart == "" {
		c.Restart = OnFailure
	}
	c.Backoff = c.Backoff.withDefaults()
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
// A first child that ends by itself is started again, as Restart and Backoff say. When no other is to come, Done is closed and Err says why: who has
// registered a name for the backend gives it up then.
type Stdio struct {
	command []string
	opts    *StdioOptions
	logs    *Log

	ctx    context.Context // of starts; ends with Close
	cancel context.CancelFunc
	over   chan struct{} // no other child is to come; err is set
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	err      error
	life     *life // the first child that is, or the one that is to come; nil: none is wanted
	lives    map[*life]struct{}
	first    *Child // the last one, which may have ended
	info     servers.Info
	lists    lists
	story    story
	watchers map[chan<- struct{}]struct{} // see Changes
	sessions map[*Child]struct{}          // starting ones are counted by starting
	starting int
	lent     *shared
}

var _ servers.Changing = (*Stdio)(nil)

// StartStdio starts command and returns when its first child is an initialised MCP server. The error is a *StartError, with the last lines
// on stderr in it; nothing is left running then. A command may be started up to three times on the way: a server that does not survive
// the question whether it is a modern one is not asked again, and one that answered it too late is. ctx covers the start. The caller must
// Close the backend.
func StartStdio(ctx context.Context, command []string, opts *StdioOptions) (*Stdio, error) {
	s := &Stdio{
		command: append([]string(nil), command...), opts: opts.withDefaults(), over: make(chan struct{}),
		lives: map[*life]struct{}{}, watchers: map[chan<- struct{}]struct{}{}, sessions: map[*Child]struct{}{},
	}
	s.logs = newLog(s.opts.LogLines)
	s.opts.Child.lines = s.logs.add
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.opts.Lazy && s.opts.Described != nil {
		s.info, s.lists = *s.opts.Described, shown(s.opts.Described.Extra)
		return s, nil
	}
	first, info, err := s.initialise(ctx, askBoth)
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.info = *info
	s.mu.Lock()
	l := s.begin()
	s.came(l, first, *info)
	s.mu.Unlock()
	s.wg.Go(func() { s.live(l) })
	if s.opts.Lazy {
		if err := s.survey(ctx, l); err != nil { // what it lists is to be shown though it does not run
			s.opts.Logger.Info("the server's lists are not known", "command", s.name(), "err", err)
		}
		s.rest(l, 0)
	}
	return s, nil
}

// name is the command in messages.
func (s *Stdio) name() string { return strings.Join(s.command, " ") }

// Info is what the server said about itself when it started last.
func (s *Stdio) Info() servers.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// Describe is Info with what is known of the children, for the host that registers the server.
func (s *Stdio) Describe(context.Context) (servers.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.info
	info.Capabilities = s.lists.declare(info.Capabilities)
	info.Extra = s.facts()
	return info, nil
}

// Changes tells of each change of what Describe says, until ctx ends: the server's lists or its capabilities are others, a child ended, another one came.
func (s *Stdio) Changes(ctx context.Context, changed chan<- struct{}) error {
	s.mu.Lock()
	s.watchers[changed] = struct{}{}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, changed)
	return ctx.Err()
}

// changed tells who watches. s.mu is held.
func (s *Stdio) changed() {
	for w := range s.watchers {
		select {
		case w <- struct{}{}:
		default: // one is enough
		}
	}
}

// Pid is the process id of the first child, 0 where none was started yet.
func (s *Stdio) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return 0
	}
	return s.first.Pid()
}

// Running tells whether there is a first child now.
func (s *Stdio) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life != nil && s.life.child != nil
}

// Logs are the last lines that the children wrote to stderr, and what became of them.
func (s *Stdio) Logs() *Log { return s.logs }

// Sessions is how many legacy sessions there are now.
func (s *Stdio) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Single && s.life != nil && s.life.mux != nil {
		return s.life.mux.size()
	}
	return len(s.sessions)
}

// Done is closed when there is no first child and none will come: it has ended for good, the starts of another were given up, or Close was called.
func (s *Stdio) Done() <-chan struct{} { return s.over }

// Err is nil until Done, and then why: the first child's *ExitError, a *RestartError that has the last failure in it, or wire.ErrClosed
// where there was no child.
func (s *Stdio) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// finish says that no other child is to come. s.mu is held.
func (s *Stdio) finish(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	close(s.over)
	s.logs.note("no other child is to come: " + err.Error())
}

// Shared returns a conversation with the first child, and ends the one that it returned before. Closing it leaves the child as it is. It goes on with
// the child that follows: what one that ended had not answered is answered with how it ended, and a Write that finds no child waits for one,
// at most as long as RestartOptions.Wait says. When no other is to follow, every Read returns what Err says.
func (s *Stdio) Shared() wire.Pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent != nil {
		s.lent.Close()
	}
	s.lent = newShared(s)
	return s.lent
}

// Open starts a child for one client, or, with Single, lets the client in on the first one. The error is a *BusyError when there are
// MaxSessions already, else a *StartError, or ErrClosed of wire.
func (s *Stdio) Open(ctx context.Context) (wire.Pipe, error) {
	if s.opts.Single {
		return s.openSingle(ctx)
	}
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, wire.ErrClosed
	case len(s.sessions)+s.starting >= s.opts.MaxSessions:
		s.mu.Unlock()
		return nil, &BusyError{Command: s.name(), Max: s.opts.MaxSessions}
	}
	s.starting++
	s.wg.Add(1)
	s.mu.Unlock()

	c, err := s.startSession(ctx)
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

// startSession starts a child when it is its turn. The turn ends when the child has said something.
func (s *Stdio) startSession(ctx context.Context) (*Child, error) {
	done, err := turn(ctx)
	if err != nil {
		return nil, &StartError{Command: s.name(), Step: "start", Err: err}
	}
	o := s.opts.Child
	o.spoke = done
	c, err := StartChild(ctx, s.command, &o)
	if err != nil {
		done()
	}
	return c, err
}

// openSingle lets one client in on the first child.
func (s *Stdio) openSingle(ctx context.Context) (wire.Pipe, error) {
	l, err := s.await(ctx, nil)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, wire.ErrClosed
	}
	if l.mux.size() >= s.opts.MaxSessions {
		return nil, &BusyError{Command: s.name(), Max: s.opts.MaxSessions}
	}
	p := l.mux.open(true)
	if p == nil {
		return nil, refusal(wire.CodeBusy, "the server is being ended as it was idle; it comes again with the next request")
	}
	return p, nil
}

// Close ends all children, as Child.Close does, and waits until they are gone. When ctx ends first it returns ctx's error and the ending
// goes on without it.
func (s *Stdio) Close(ctx context.Context) error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	for l := range s.lives {
		l.end()
	}
	if s.life == nil {
		s.finish(wire.ErrClosed)
	}
	for c := range s.sessions {
		c.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exited is the *ExitError in err, nil if there is none.
func exited(err error) *ExitError {
	exit, _ := errors.AsType[*ExitError](err)
	return exit
}
