package servers

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/nats-io/nuid"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// HostOptions are for all that a Host serves; nil is all defaults.
type HostOptions struct {
	// Mode is the mode of the Host's session; "" is registry.Service.
	Mode registry.Mode
	// MaxMessage is the largest message that is carried, in bytes (0: wire.DefaultMaxMessage).
	MaxMessage int
	Logger     *slog.Logger // nil: none
}

// ServeOptions say how one server is shown and served; nil is all defaults.
type ServeOptions struct {
	// Groups are joined besides tools, resources and prompts, which follow from what the server declares.
	Groups   []string
	Kind     string            // what kind of server it is, in the owner's words
	Metadata map[string]string // shown with the name, besides what the server says of itself
	Labels   map[string]string

	// Digest shares the name with other servers of the same specification, see registry.RegisterOptions: each call goes to one of them. What is shown with
	// the name is then what one of them showed last.
	Digest string

	// Drain is how long the calls in flight may go on when the server is closed and its name given up already (0: they end at once, and are told).
	Drain time.Duration

	MaxInFlight, MaxSessions int // see wire.ServeOptions
}

// Describer is a backend that can say what its server is: its groups and metadata follow from that.
type Describer interface {
	wire.Backend
	Describe(ctx context.Context) (Info, error)
}

// Changing is a Describer that tells when what Describe says has changed. The Host then asks it again, and moves groups and metadata accordingly.
type Changing interface {
	Describer
	// Changes puts a token into changed after each change, without waiting for room, until ctx ends. An error before says that there is nothing to be
	// told.
	Changes(ctx context.Context, changed chan<- struct{}) error
}

// Host serves MCP servers of this process under names. They share one registry session: one liveness, opened with the first of them. All
// methods may be called concurrently.
//
// When the session is lost (a long partition, a verdict) every server stops to answer, and its sessions with clients end; the Host opens a new session, claims
// the names again and serves on, as the same instances with new tokens. A name that somebody else has by then is not fought for: its Serving ends
// with a *registry.NameTakenError.
type Host struct {
	conn *bus.Conn
	reg  *registry.Registry
	opts HostOptions
	log  *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	opening sync.Mutex // held while a session is opened

	mu      sync.Mutex
	server  *wire.Server
	caller  *wire.Caller // of the translation between eras; nil before its first use
	session *registry.Session
	names   map[string]*Serving
	closed  bool
}

// NewHost makes a Host that answers on conn and registers in reg. It does nothing until the first Serve.
func NewHost(conn *bus.Conn, reg *registry.Registry, opts *HostOptions) *Host {
	if opts == nil {
		opts = &HostOptions{}
	}
	h := &Host{conn: conn, reg: reg, opts: *opts, log: opts.Logger, names: map[string]*Serving{}}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Serve claims name and serves server under it until the Serving is closed, the Host is, or the name is lost. It returns when the claim
// is in this process's view and the server answers. The server joins the groups tools, resources and prompts as far as it declares them, and leaves them, when
// its tools, resources and prompts change; for that the Host keeps a session of its own with it (see Refresh). Errors: what
// registry.Session.Register says (a *registry.NameTakenError above all), ErrClosed, and what the server says when it is asked.
// If ctx ends first, nothing is left behind.
func (h *Host) Serve(ctx context.Context, name string, server *mcp.Server, opts *ServeOptions) (*Serving, error) {
	return h.ServeBackend(ctx, name, &backend{server: server}, opts)
}

// ServeBackend is Serve for whatever answers: children on stdio, a program of another kind. What a Describer says of its server is shown, and decides over
// tools, resources and prompts. The backend is not closed with the Serving: who made it does that.
func (h *Host) ServeBackend(ctx context.Context, name string, b wire.Backend, opts *ServeOptions) (*Serving, error) {
	if opts == nil {
		opts = &ServeOptions{}
	}
	name, err := registry.ParseName(name)
	if err != nil {
		return nil, err
	}
	s := &Serving{host: h, name: name, instance: nuid.Next(), backend: b, opts: *opts, done: make(chan struct{})}
	if s.info, err = s.ask(ctx); err != nil {
		return nil, fmt.Errorf("servers: asking %s what it can do: %w", name, err)
	}
	if s.served, err = s.bothEras(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	h.mu.Lock()
	other := h.names[name]
	if other == nil && !h.closed {
		h.names[name] = s
	}
	closed := h.closed
	h.mu.Unlock()
	switch {
	case closed:
		s.cancel()
		return nil, ErrClosed
	case other != nil:
		s.cancel()
		return nil, &registry.NameTakenError{Name: name, Owner: other.Record()}
	}
	if err := h.start(ctx, s); err != nil {
		s.end(nil, byName) // the Host may have claimed for it meanwhile, in a session after the one that failed here
		return nil, err
	}
	if b, ok := b.(Changing); ok {
		h.spawn(func() { s.keepUp(b) }) // a closed Host ends it anyway
	}
	return s, nil
}

func (h *Host) forget(s *Serving) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.names[s.name] == s {
		delete(h.names, s.name)
	}
}

// Servings are what the Host serves now.
func (h *Host) Servings() []*Serving {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.names))
}

// Close gives every name up in one step, then ends what served them: calls in flight are told, at the end of ServeOptions.Drain where it is set. It waits for
// all of it, at most some seconds more where the registry cannot be reached.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		h.work.Wait()
		return nil
	}
	h.closed = true
	session := h.session
	h.mu.Unlock()
	h.cancel() // whoever claims again gives up
	var ends sync.WaitGroup
	if session != nil {
		ends.Go(func() { h.leave(session) })
	}
	for _, s := range h.Servings() {
		ends.Go(func() { s.end(nil, withSession) })
	}
	ends.Wait()
	h.work.Wait()
	h.opening.Lock() // whoever opens has given up, or made the server by now
	defer h.opening.Unlock()
	h.mu.Lock()
	server, caller := h.server, h.caller
	h.mu.Unlock()
	if server != nil {
		_ = server.Close() // always nil
	}
	if caller != nil {
		return caller.Close()
	}
	return nil
}
