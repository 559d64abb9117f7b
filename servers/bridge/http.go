package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// ErrRemote: the HTTP server could not be reached, or did not answer as an MCP server does. The error is a *RemoteError.
var ErrRemote = errors.New("bridge: the HTTP server failed")

// RemoteError says how an HTTP server failed.
type RemoteError struct {
	URL    string
	Status int    // of HTTP; 0: no answer came
	Body   string // the beginning of what it said
	Sent   bool   // the request may have reached it
	Err    error  // nil where Status says it
}

// Error is one line: the URL, and what happened.
func (e *RemoteError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("bridge: %s: %s", e.URL, e.Err)
	case e.Body != "":
		return fmt.Sprintf("bridge: %s answered %d: %s", e.URL, e.Status, e.Body)
	}
	return fmt.Sprintf("bridge: %s answered %d", e.URL, e.Status)
}

// Is reports that a RemoteError is ErrRemote.
func (e *RemoteError) Is(target error) bool { return target == ErrRemote }

// Unwrap returns the cause.
func (e *RemoteError) Unwrap() error { return e.Err }

// answer is what a caller is told.
func (e *RemoteError) answer() *wire.Error {
	facts := wire.Facts{Why: e.Error(), Executed: "no"}
	if e.Sent {
		facts.Executed = "unknown"
	}
	return wire.NewError(wire.CodeBackend, "the server did not answer: "+e.Error(), facts)
}

// HTTPOptions says how an HTTP server is bridged. The zero value, and nil, are usable.
type HTTPOptions struct {
	Header      http.Header   // goes with every request: a token, say
	MaxMessage  int           // the longest message that it may send, in bytes; 0: 64 MiB
	MaxSessions int           // how many clients with sessions there may be at once; 0: 1024
	Timeout     time.Duration // for it to begin to answer what is no call of a client: the start, and what Health asks; 0: 10 s

	Health     time.Duration // how often it is asked whether it is there; 0: every 10 s; less than 0: never
	HealthPath string        // what is fetched for that, relative to the URL: an answer below 500 will do; "": it is asked by MCP itself

	ClientName, ClientVersion string // who the bridge says it is; "": toolbus, dev

	Client *http.Client // nil: one of its own
	Logger *slog.Logger // nil: nothing is logged
}

func (o *HTTPOptions) withDefaults() *HTTPOptions {
	if o == nil {
		o = &HTTPOptions{}
	}
	c := *o
	if c.MaxMessage <= 0 {
		c.MaxMessage = defaultMaxFrame
	}
	if c.MaxSessions <= 0 {
		c.MaxSessions = 1024
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Health == 0 {
		c.Health = 10 * time.Second
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
	return &c
}

// flavour is how a server speaks HTTP.
type flavour string

const (
	streamable flavour = "streamable" // one URL: 2025-03-26 and newer, both eras
	sse        flavour = "sse"        // a stream, and a URL for what the client says: 2024-11-05
)

// HTTP serves with an MCP server on HTTP: a wire.Backend. Legacy clients have a session of their own with the server; with a modern server each request without
// a session is a request of HTTP. A server that is away is not given up: what is asked meanwhile is answered with why, and Describe shows it.
type HTTP struct {
	url    *url.URL
	opts   *HTTPOptions
	client *http.Client
	own    *http.Transport // nil: somebody else's client
	how    flavour

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	over   chan struct{}
	wg     sync.WaitGroup

	mu       sync.Mutex
	closing  bool // no pipe is opened any more
	closed   bool // nothing begins any more
	info     servers.Info
	lists    lists
	rules    map[string][]paramRule // what stands in headers too, by tool
	down     error                  // nil: it is there
	since    time.Time              // it is down
	back     chan struct{}          // closed when it is there again, and made anew
	line     *mux                   // of the bridge's own legacy session; nil: there is none now
	linked   chan struct{}          // closed when there is one, and made anew
	watchers map[chan<- struct{}]struct{}
	pipes    map[wire.Pipe]struct{}
	sessions int
}

// modernHTTP is an HTTP server that takes requests without a session as they are.
type modernHTTP struct{ *HTTP }

// Single opens a conversation for one request.
func (h modernHTTP) Single(context.Context) (wire.Pipe, error) { return h.newExchange() }

// Shared is not used: see Single.
func (h modernHTTP) Shared() wire.Pipe { return nil }

var (
	_ servers.Changing = (*HTTP)(nil)
	_ servers.Changing = modernHTTP{}
	_ wire.Stateless   = modernHTTP{}
)

// StartHTTP asks the MCP server at a URL what it is: by server/discover, by initialize, and, where it speaks neither that way, as a server of 2024-11-05. The
// error is a *StartError. ctx covers the start. The caller must Close the backend.
func StartHTTP(ctx context.Context, at string, opts *HTTPOptions) (*HTTP, error) {
	o := opts.withDefaults()
	u, err := url.Parse(at)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = errors.New("it is no http or https URL")
	}
	if err != nil {
		return nil, &StartError{Command: at, Step: "start", Err: err}
	}
	h := &HTTP{
		url: u, opts: o, client: o.Client, how: streamable, over: make(chan struct{}),
		watchers: map[chan<- struct{}]struct{}{}, pipes: map[wire.Pipe]struct{}{}, rules: map[string][]paramRule{},
		back: make(chan struct{}), linked: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if h.client == nil {
		h.own = http.DefaultTransport.(*http.Transport).Clone()
		h.own.MaxIdleConnsPerHost = 64
		h.client = &http.Client{Transport: h.own}
	}
	step, err := h.discover(ctx)
	if err != nil {
		_ = h.Close(context.Background()) // nothing of it runs yet
		return nil, &StartError{Command: at, Step: step, Err: err}
	}
	h.wg.Go(h.watch)
	if o.Health > 0 {
		h.wg.Go(h.keepAsking)
	}
	return h, nil
}

// Backend is what serves: it takes requests without a session one by one where the server does.
func (h *HTTP) Backend() wire.Backend {
	if h.Info().Era == servers.Modern {
		return modernHTTP{h}
	}
	return h
}

// Info is what the server said about itself last.
func (h *HTTP) Info() servers.Info {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.info
}

// The keys of an attached server's metadata that do not come from the server.
const (
	MetaURL    = "http.url"
	MetaHTTP   = "http.transport" // streamable, sse
	MetaHealth = "http.state"     // StateUp, StateDown
	MetaWhy    = "http.error"     // why it is down, or was the last time
)

// What an attached server can be.
const (
	StateUp   = "up"
	StateDown = "down"
)

// Describe is Info, with what is known of the server's health.
func (h *HTTP) Describe(context.Context) (servers.Info, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	info := h.info
	info.Capabilities = h.lists.declare(info.Capabilities)
	info.Extra = map[string]string{MetaURL: h.url.Redacted(), MetaHTTP: string(h.how), MetaHealth: StateUp}
	if h.down != nil {
		info.Extra[MetaHealth], info.Extra[MetaWhy] = StateDown, clean(h.down.Error(), maxStderr)
	}
	h.lists.show(info.Extra)
	return info, nil
}

// Changes tells of each change of what Describe says, until ctx ends.
func (h *HTTP) Changes(ctx context.Context, changed chan<- struct{}) error {
	h.mu.Lock()
	h.watchers[changed] = struct{}{}
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, changed)
	return ctx.Err()
}

// changed tells who watches. h.mu is held.
func (h *HTTP) changed() {
	for w := range h.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Shared is a session of the bridge's own, for requests without one; it begins with the first of them, and again after it has ended.
func (h *HTTP) Shared() wire.Pipe { return newLent(h) }

// Open starts a legacy client's session with the server. The error is a *BusyError when there are MaxSessions already, or ErrClosed of wire.
func (h *HTTP) Open(context.Context) (wire.Pipe, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closing:
		return nil, wire.ErrClosed
	case h.sessions >= h.opts.MaxSessions:
		return nil, &BusyError{Command: h.url.Redacted(), Max: h.opts.MaxSessions}
	}
	h.sessions++
	var once sync.Once
	return h.newConversation(func() {
		once.Do(func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.sessions--
		})
	}), nil
}

// newConversation opens a session of the server's flavour. h.mu is held.
func (h *HTTP) newConversation(ended func()) wire.Pipe {
	if h.how == sse {
		p := newOldSession(h, ended)
		h.pipes[p] = struct{}{}
		return p
	}
	p := newHTTPSession(h, ended)
	h.pipes[p] = struct{}{}
	return p
}

// forget takes a pipe out that has ended.
func (h *HTTP) forget(p wire.Pipe) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pipes, p)
}

// Done is closed with Close.
func (h *HTTP) Done() <-chan struct{} { return h.over }

// Err is nil until Close.
func (h *HTTP) Err() error {
	select {
	case <-h.over:
		return wire.ErrClosed
	default:
		return nil
	}
}

// Close ends all sessions and requests, and waits until that is done or ctx ends.
func (h *HTTP) Close(ctx context.Context) error {
	h.mu.Lock()
	first := !h.closing
	h.closing = true
	pipes := make([]wire.Pipe, 0, len(h.pipes))
	for p := range h.pipes {
		pipes = append(pipes, p)
	}
	h.mu.Unlock()
	for _, p := range pipes {
		_ = p.Close()
	}
	h.mu.Lock()
	h.closed = true // the servers are being told
	h.mu.Unlock()
	h.cancel()
	if first {
		close(h.over)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.wg.Wait()
		if h.own != nil {
			h.own.CloseIdleConnections()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spawn runs f on a goroutine that Close waits for. It is false once the backend is closed.
func (h *HTTP) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(f)
	return true
}
