package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// Kind is the kind that a bridged server's record has.
const Kind = "stdio"

// Bounds of Run and of the end of what it made.
const (
	probePatience = 500 * time.Millisecond // for the holder of a name to say that it lives
	drainPatience = time.Second            // for the calls in flight when Running is closed
	flushPatience = 5 * time.Second        // for the server to know that the log can be read
	closePatience = 30 * time.Second       // for children, whose graces are shorter
)

// RunOptions says how a command is run as a named server. The zero value, and nil, are usable.
type RunOptions struct {
	Groups   []string          // groups to join besides tools, resources and prompts, which follow from the server's capabilities
	Labels   map[string]string // of the registration
	Metadata map[string]string // of the registration, besides what the server says about itself

	Env    []string  // KEY=VALUE, added to this process's environment
	Dir    string    // the working directory; "": this process's
	Stderr io.Writer // gets a copy of what every child writes to stderr, a piece of a line at a time; nil: none

	// Share shares the name with every other Run that says Share and has the same command, names of variables in Env, and server behind it: each is an
	// instance of the name, and each call goes to one of them.
	Share bool

	Restart Restart // what becomes of a first child that ends by itself; "": OnFailure

	Single       bool          // one child for all clients, see Stdio
	MaxSessions  int           // see StdioOptions
	StartTimeout time.Duration // see StdioOptions

	Stdio  *StdioOptions // everything else; what is set above goes before it
	Logger *slog.Logger  // nil: nothing is logged
}

func (o *RunOptions) withDefaults() (*RunOptions, *StdioOptions) {
	if o == nil {
		o = &RunOptions{}
	}
	c, s := *o, StdioOptions{}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Stdio != nil {
		s = *c.Stdio
	}
	s.Child.Env = append(slices.Clone(s.Child.Env), c.Env...)
	if c.Dir != "" {
		s.Child.Dir = c.Dir
	}
	if c.Stderr != nil {
		s.Child.Stderr = &oneAtATime{w: c.Stderr}
	}
	s.Single = s.Single || c.Single
	s.anonymous = c.Share
	if c.Restart != "" {
		s.Restart = c.Restart
	}
	if c.MaxSessions > 0 {
		s.MaxSessions = c.MaxSessions
	}
	if c.StartTimeout > 0 {
		s.StartTimeout = c.StartTimeout
	}
	if s.Logger == nil {
		s.Logger = c.Logger
	}
	return &c, &s
}

// oneAtATime lets the children share a writer.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneAtATime) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}

// runs is what serves under a name.
type runs interface {
	servers.Changing
	Info() servers.Info
	Done() <-chan struct{}
	Err() error
	Close(ctx context.Context) error
}

// Running is a command, or an HTTP server, that is served under a name. Its methods may be called concurrently.
type Running struct {
	backend runs
	host    *servers.Host // of its own: the name has a session to itself, whose end is one entry
	serving *servers.Serving
	logs    *bus.Handling
	log     *slog.Logger

	asked chan struct{} // by Close
	once  sync.Once
	done  chan struct{} // everything is left; err is set
	err   error
}

// Run makes command an MCP server that is called name on the bus.
//
// A name that somebody else holds is a *registry.NameTakenError before anything is started; the holder is asked first, and one that does not
// answer is left to Register, which waits for the verdict on him. Then the first child is started and initialised (*StartError), and only what
// answered is registered, with the groups that follow from its capabilities. When Run returns, the name is visible here and calls reach it.
//
// A session of the registry that is lost is replaced by a new one, and the server goes on as the same instance, with the same first child; clients
// with sessions have to initialize again. Running ends by itself when the first child ends, the name is somebody else's by then, or the registry is closed; the name
// is given up at once.
//
// ctx covers the start; when it ends first, nothing is left registered or running. The caller must Close what it got, and does so before it closes reg and
// conn.
func Run(ctx context.Context, conn *bus.Conn, reg *registry.Registry, name string, command []string, opts *RunOptions) (*Running, error) {
	name, err := registry.ParseName(name)
	if err != nil {
		return nil, err
	}
	o, stdio := opts.withDefaults()
	digest := ""
	if o.Share {
		digest = specification(command, o.Env)
	}
	if err := free(ctx, conn, reg, name, digest); err != nil {
		return nil, err
	}
	backend, err := StartStdio(ctx, command, stdio)
	if err != nil {
		return nil, err
	}
	if o.Share {
		digest += behind(backend.Info())
	}
	return present(ctx, conn, reg, name, backend, backend, backend.Logs(), o.Logger, &servers.ServeOptions{
		Kind: Kind, Groups: o.Groups, Labels: o.Labels, Metadata: o.Metadata, Digest: digest, Drain: drainPatience,
	})
}

// present gives a backend its name. Where it fails nothing is left of the backend.
func present(ctx context.Context, conn *bus.Conn, reg *registry.Registry, name string, b runs, serves wire.Backend, log *Log, logger *slog.Logger, opts *servers.ServeOptions) (*Running, error) {
	r := &Running{
		backend: b, host: servers.NewHost(conn, reg, &servers.HostOptions{Logger: logger}), log: logger.With("name", name),
		asked: make(chan struct{}), done: make(chan struct{}),
	}
	var err error
	r.serving, err = r.host.ServeBackend(ctx, name, serves, opts)
	if err == nil && log != nil {
		r.logs, err = log.serve(conn, reg.Scope(), r.serving.Instance())
	}
	if err == nil { // it is served: who ends ctx now ends what Run has returned
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushPatience)
		err = conn.Flush(flush)
		cancel()
	}
	if err != nil {
		r.end()
		return nil, err
	}
	go r.keep()
	return r, nil
}

// free returns an error when somebody who answers holds the name, unless he shares it with who has a digest that begins so.
func free(ctx context.Context, conn *bus.Conn, reg *registry.Registry, name, digest string) error {
	if err := reg.WaitSynced(ctx); err != nil {
		return err
	}
	held, err := reg.Whereis(name)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if digest != "" && strings.HasPrefix(held.Digest, digest) {
		return nil
	}
	probe, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	if registry.Probe(probe, conn, reg.Scope(), held.Session) != nil {
		return ctx.Err() // killed a moment ago, perhaps: Register finds out
	}
	return &registry.NameTakenError{Name: name, Owner: *held}
}

// keep waits for the end of the child or of the name, or for Close, and then leaves.
func (r *Running) keep() {
	defer close(r.done)
	select {
	case <-r.asked:
	case <-r.backend.Done():
	case <-r.serving.Done():
	}
	died := r.backend.Err()
	r.end()
	if r.err = died; died == nil {
		r.err = r.serving.Err()
	}
	r.log.Info("left", "err", r.err)
}

// end gives the name up first, for whoever waits for it, and then ends the children.
func (r *Running) end() {
	// The calls of a dead child have their answer by now, which says so; those of other sessions may still get theirs.
	if err := r.host.Close(); err != nil {
		r.log.Warn("what served the name did not end well", "err", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if r.logs != nil {
		now, stop := context.WithCancel(ctx)
		stop() // who follows it is not waited for
		_ = r.logs.Close(now)
	}
	if err := r.backend.Close(ctx); err != nil {
		r.log.Error("a child is still there", "err", err)
	}
}

// Name is the name, as it is registered.
func (r *Running) Name() string { return r.serving.Name() }

// Instance is the id of the hosted server.
func (r *Running) Instance() string { return r.serving.Instance() }

// Info is what the server said about itself.
func (r *Running) Info() servers.Info { return r.backend.Info() }

// Groups are the groups that it has joined.
func (r *Running) Groups() []string { return r.serving.Groups() }

// Backend is what serves, for those who ask after its processes; nil for an HTTP server.
func (r *Running) Backend() *Stdio {
	s, _ := r.backend.(*Stdio)
	return s
}

// Record is the registration as it was last known here.
func (r *Running) Record() registry.Record { return r.serving.Record() }

// Done is closed when the name was given up and every child is gone, after Close or by itself.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err is nil before Done and after Close; else it says why Running ended: an *ExitError of the first child, a *registry.NameTakenError,
// registry.ErrLost, registry.ErrClosed.
func (r *Running) Err() error {
	select {
	case <-r.done:
		return r.err
	default:
		return nil
	}
}

// Close gives the name up, lets the calls in flight end for at most a second, ends every child and waits for all of that. When ctx ends first
// it returns ctx's error, and the ending goes on.
func (r *Running) Close(ctx context.Context) error {
	r.once.Do(func() { close(r.asked) })
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
