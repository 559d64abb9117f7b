package era

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// Stream is what belongs to one request: notifications, and then the response, after which Read returns io.EOF or any other error. Close cancels the
// request if it is not answered yet.
type Stream interface {
	Read(ctx context.Context) (json.RawMessage, error)
	Close() error
}

// Options say how an Adapter works; nil is all defaults.
type Options struct {
	// Instance is the id of the instance that serves, which stands readable in each requestState; "" is a random one. One token of [A-Za-z0-9_-].
	Instance string

	// Forward takes a retry to the instance that has the suspended call: the request goes there as it is, once. nil: a retry that belongs to another
	// instance is refused.
	Forward func(ctx context.Context, instance string, request json.RawMessage) (Stream, error)

	Expiry   time.Duration // how long a suspended call waits for its retry (0: 10 minutes)
	MaxLinks int           // how many conversations with the server there may be, besides the one of Backend.Shared (0: 16)
	Idle     time.Duration // how long a conversation that nobody uses is kept (0: 5 minutes)
	Patience time.Duration // how long a request waits for a conversation; then it is busy (0: 30 s)

	Logger *slog.Logger // nil: nothing is logged
}

const (
	gatherFor   = 15 * time.Millisecond // what a server asks within that time goes into one input_required
	coolFor     = 2 * time.Second       // a conversation whose call was cancelled is not used that long: its server may still ask for it
	openFor     = time.Minute           // for the handshake of a conversation
	pingFor     = 2 * time.Second       // for what a server asks by itself after the handshake
	maxHeld     = 256                   // notifications of a suspended call that are kept for its retry
	gatherLists = 20 * time.Millisecond // list_changed of several conversations within that time are told once
)

// Adapter lets modern clients use a server that speaks the legacy protocol alone: a wire.Backend. Legacy clients go through it untouched. Its methods
// may be called concurrently.
type Adapter struct {
	backend wire.Backend
	opts    Options
	log     *slog.Logger
	seal    *seal

	said atomic.Pointer[description]

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu        sync.Mutex
	pools     map[string]*pool // by the client's capabilities
	links     int              // made by Open, and being made
	freed     chan struct{}    // closed, and made anew, when a link may have become free
	suspended map[[16]byte]*call
	closed    bool
}

var _ wire.Stateless = (*Adapter)(nil)

// description is what the server has said in its initialize.
type description struct {
	server, capabilities, instructions json.RawMessage // as it was written
	version                            string          // that it speaks
	versions                           []string        // that there are here
}

func describe(initialize json.RawMessage) (*description, error) {
	result := parse(initialize)
	version := result.text("protocolVersion")
	if version == "" {
		return nil, errors.New("era: the result of initialize has no protocolVersion")
	}
	d := &description{
		server: result.get("serverInfo"), capabilities: result.get("capabilities"), instructions: result.get("instructions"),
		version: version, versions: []string{ModernVersion, version},
	}
	if !isObject(d.capabilities) {
		d.capabilities = json.RawMessage("{}")
	}
	return d, nil
}

// Adapt makes an Adapter over backend. initialize is the result of the server's initialize, as it came: what server/discover says follows from it. The error
// says that it is none. Close ends the Adapter, and not the backend.
func Adapt(backend wire.Backend, initialize json.RawMessage, opts *Options) (*Adapter, error) {
	if opts == nil {
		opts = &Options{}
	}
	said, err := describe(initialize)
	if err != nil {
		return nil, err
	}
	a := &Adapter{
		backend: backend, opts: *opts, log: opts.Logger,
		pools: map[string]*pool{}, freed: make(chan struct{}), suspended: map[[16]byte]*call{},
	}
	a.said.Store(said)
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.opts.Instance = orElse(a.opts.Instance, randomToken())
	a.opts.Expiry = orElse(a.opts.Expiry, 10*time.Minute)
	a.opts.MaxLinks = orElse(a.opts.MaxLinks, 16)
	a.opts.Idle = orElse(a.opts.Idle, 5*time.Minute)
	a.opts.Patience = orElse(a.opts.Patience, 30*time.Second)
	a.seal = newSeal(a.opts.Instance)
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a, nil
}

// Describe takes the result of a later initialize: what server/discover says from now on. One that is none changes nothing.
func (a *Adapter) Describe(initialize json.RawMessage) {
	if said, err := describe(initialize); err == nil {
		a.said.Store(said)
	}
}

// Shared is never used: each modern request has a conversation of its own, see Single.
func (a *Adapter) Shared() wire.Pipe { return nil }

// Open starts a legacy client's conversation with the server, untouched.
func (a *Adapter) Open(ctx context.Context) (wire.Pipe, error) { return a.backend.Open(ctx) }

// Single takes one modern request. One without a protocol version in its _meta, typed by hand perhaps, goes to the server as it is.
func (a *Adapter) Single(context.Context) (wire.Pipe, error) {
	f := &front{a: a, q: newQueue()}
	f.ctx, f.cancel = context.WithCancel(a.ctx)
	return f, nil
}

// Close ends all requests and conversations and waits for the Adapter's goroutines. A suspended call is gone with it.
func (a *Adapter) Close() error {
	a.mu.Lock()
	a.closed = true
	var links []*link
	for _, p := range a.pools {
		links = append(links, p.links...)
	}
	a.mu.Unlock()
	a.cancel()
	for _, l := range links {
		l.end(wire.ErrClosed)
	}
	a.work.Wait()
	return nil
}

// spawn runs f on a goroutine that Close waits for. It is false once the Adapter is closed.
func (a *Adapter) spawn(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.work.Go(f)
	return true
}

func orElse[T comparable](v, otherwise T) T {
	var none T
	if v == none {
		return otherwise
	}
	return v
}
