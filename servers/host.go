package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

	MaxInFlight, MaxSessions int // see wire.ServeOptions
}

// Host serves MCP servers of this process under names. They share one registry session: one liveness, opened with the first of them. All
// methods may be called concurrently.
//
// When the session is lost (a long partition, a verdict) every server stops to answer; the Host opens a new session, claims the names again
// and serves on, as new instances. A name that somebody else has by then is not fought for: its Serving ends with a *registry.NameTakenError.
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
// is in this process's view and the server answers. The server joins the groups tools, resources and prompts as far as it declares them. Errors: what
// registry.Session.Register says (a *registry.NameTakenError above all), ErrClosed, and what the server says when it is asked.
// If ctx ends first, nothing is left behind.
func (h *Host) Serve(ctx context.Context, name string, server *mcp.Server, opts *ServeOptions) (*Serving, error) {
	if opts == nil {
		opts = &ServeOptions{}
	}
	name, err := registry.ParseName(name)
	if err != nil {
		return nil, err
	}
	said, err := ask(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("servers: asking %s what it can do: %w", name, err)
	}
	s := &Serving{host: h, name: name, server: server, opts: *opts, groups: said.groups(), done: make(chan struct{})}
	s.backend = &backend{server: server}
	if said.Modern {
		s.backend.modern = modernVersion
	}
	s.metadata = describe(said, opts.Metadata)
	h.mu.Lock()
	other := h.names[name]
	if other == nil && !h.closed {
		h.names[name] = s
	}
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if other != nil {
		return nil, &registry.NameTakenError{Name: name, Owner: other.Record()}
	}
	if err := h.start(ctx, s); err != nil {
		h.forget(s)
		return nil, err
	}
	return s, nil
}

func (h *Host) start(ctx context.Context, s *Serving) error {
	for {
		session, err := h.open(ctx, nil)
		if err != nil {
			return err
		}
		err = s.take(ctx, session)
		if !errors.Is(err, registry.ErrSessionEnded) || ctx.Err() != nil {
			return err
		}
	}
}

// open returns the Host's session, a new one if there is none or it is the one that ended.
func (h *Host) open(ctx context.Context, ended *registry.Session) (*registry.Session, error) {
	h.opening.Lock()
	defer h.opening.Unlock()
	h.mu.Lock()
	session, server, closed := h.session, h.server, h.closed
	h.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if session != nil && session != ended && session.Err() == nil {
		return session, nil
	}
	if server == nil {
		var err error
		server, err = wire.NewServer(h.conn, &wire.ServerOptions{Scope: h.reg.Scope(), MaxMessage: h.opts.MaxMessage, Logger: h.log})
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		h.server = server
		h.mu.Unlock()
	}
	next, err := h.reg.NewSession(ctx, &registry.SessionOptions{Mode: h.opts.Mode, Replaces: session})
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.session = next
	h.mu.Unlock()
	if !h.spawn(func() { h.follow(next) }) {
		h.leave(next)
		return nil, ErrClosed
	}
	return next, nil
}

// spawn runs f on a goroutine that Close waits for. It is false once the Host is closed.
func (h *Host) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Go(f)
	return true
}

// follow waits for the end of a session and brings what it held into the next.
func (h *Host) follow(session *registry.Session) {
	select {
	case <-session.Done():
	case <-h.ctx.Done():
		return
	}
	h.mu.Lock()
	if h.closed || h.session != session {
		h.mu.Unlock()
		return
	}
	var held []*Serving
	for _, s := range h.names {
		held = append(held, s)
	}
	h.mu.Unlock()
	h.log.Warn("the session has ended; claiming again", "session", session.ID(), "err", session.Err(), "names", len(held))
	for _, s := range held {
		s.release(session)
	}
	pause := 50 * time.Millisecond
	for len(held) > 0 {
		next, err := h.open(h.ctx, session)
		if err == nil {
			held = h.again(next, held)
		}
		if len(held) == 0 || h.ctx.Err() != nil {
			return
		}
		h.log.Warn("claiming again failed", "err", err, "names", len(held), "next", pause)
		select {
		case <-time.After(pause):
		case <-h.ctx.Done():
			return
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// again claims names in a new session, a few at once, and returns those that are to be tried once more.
func (h *Host) again(session *registry.Session, held []*Serving) []*Serving {
	var mu sync.Mutex
	var left []*Serving
	var work sync.WaitGroup
	room := make(chan struct{}, 16)
	for _, s := range held {
		work.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			err := s.take(h.ctx, session)
			switch {
			case err == nil, errors.Is(err, ErrClosed):
			case errors.Is(err, registry.ErrNameTaken):
				h.log.Warn("a name is lost", "name", s.name, "err", err)
				s.end(err)
			default:
				mu.Lock()
				left = append(left, s)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return left
}

// leave ends a session, and with it all that it holds. Where the store is away its lease ends by itself.
func (h *Host) leave(session *registry.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	if err := session.Close(ctx); err != nil && !errors.Is(err, registry.ErrSessionEnded) {
		h.log.Warn("the session's end is not in the registry yet; it ends with its lease", "session", session.ID(), "err", err)
	}
}

const leavePatience = 5 * time.Second

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
	var all []*Serving
	for s := range maps.Values(h.names) {
		all = append(all, s)
	}
	return all
}

// Close gives every name up in one step, then ends what served them: calls in flight are told. It waits for all of it, at most some
// seconds where the registry cannot be reached.
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
	if session != nil {
		h.leave(session)
	}
	for _, s := range h.Servings() {
		s.end(nil)
	}
	h.cancel()
	h.work.Wait()
	h.opening.Lock() // whoever opens has given up, or made the server by now
	defer h.opening.Unlock()
	h.mu.Lock()
	server := h.server
	h.mu.Unlock()
	if server != nil {
		return server.Close()
	}
	return nil
}

// The members of a hosted server's metadata, as a bridged one has them: JSON on one line as the server gave it, or text.
const (
	metaServer       = "mcp.serverInfo"
	metaCapabilities = "mcp.capabilities"
	metaVersion      = "mcp.protocolVersion"
	metaEra          = "mcp.era"
	metaInstructions = "mcp.instructions"
	maxMetadata      = 4096 // bytes of one of these: a record is one small line
)

func describe(i info, given map[string]string) map[string]string {
	capabilities, _ := json.Marshal(i.Capabilities)
	said := map[string]string{metaServer: string(i.ServerInfo), metaCapabilities: string(capabilities), metaVersion: i.ProtocolVersion,
		metaInstructions: i.Instructions, metaEra: "legacy"}
	if i.Modern {
		said[metaEra] = "modern"
	}
	for key, value := range said {
		if value == "" || len(value) > maxMetadata {
			delete(said, key)
		}
	}
	maps.Copy(said, given)
	return said
}

func newInstance() string { return nuid.Next() }
