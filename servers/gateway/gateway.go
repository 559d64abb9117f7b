package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// Options are what a Gateway does beyond its defaults; nil is all defaults.
type Options struct {
	// Hosts may stand in a request's Host and Origin headers, besides those of this machine's loopback: a name or an address, with a port if only that one is
	// meant. A page from anywhere else cannot make a browser talk to the gateway.
	Hosts []string
	// Tokens are accepted as bearer tokens; empty: none is asked for.
	Tokens []string

	MaxBody   int64         // the largest body of a request in bytes (0: wire.DefaultMaxMessage)
	KeepAlive time.Duration // a stream that is silent for so long gets a comment (0: 15 s)
	Stall     time.Duration // a client that takes nothing for so long is cut off (0: 1 minute); what it has not read of a legacy session it can still have
	Idle      time.Duration // how long a legacy session lives that no client uses (0: wire.DefaultIdle)
	Retry     time.Duration // how soon a client of a legacy session should come back when its stream ends (0: 1 s)

	Logger *slog.Logger // nil: none
}

// Gateway serves MCP over Streamable HTTP, of both protocols, for every server of a scope. It is an http.Handler; all its methods may be called concurrently.
type Gateway struct {
	far     far
	opts    Options
	hosts   []hostRule
	tokens  [][]byte
	params  *paramRules
	log     *slog.Logger
	answers time.Duration // how long an answer may take until it becomes a stream

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	staying context.Context // ends with leave
	left    context.CancelFunc

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup // requests
	work   sync.WaitGroup // everything else
}

// answerWithin is how long an answer is waited for before the response becomes a stream of events. An instance says within 100 ms that it has the call, or that
// it knows nothing of the session: until then any HTTP status can still be given.
const answerWithin = 120 * time.Millisecond

// modernWithin is the same for the newer protocol. Its errors have an HTTP status, also those that a server finds, which on a busy machine may take long; and
// its streams begin with nothing that a client waits for.
const modernWithin = 2 * time.Second

// newGateway makes a Gateway before far.
func newGateway(far far, opts *Options) *Gateway {
	if opts == nil {
		opts = &Options{}
	}
	g := &Gateway{far: far, opts: *opts, log: opts.Logger, answers: answerWithin}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.opts.MaxBody <= 0 {
		g.opts.MaxBody = wire.DefaultMaxMessage
	}
	g.opts.KeepAlive = orElse(opts.KeepAlive, 15*time.Second)
	g.opts.Stall = orElse(opts.Stall, time.Minute)
	g.opts.Retry = orElse(opts.Retry, time.Second)
	for _, h := range opts.Hosts {
		g.hosts = append(g.hosts, parseHost(h))
	}
	for _, t := range opts.Tokens {
		g.tokens = append(g.tokens, []byte(t))
	}
	g.params = newParamRules(far, g.spawn)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.staying, g.left = context.WithCancel(g.ctx)
	return g
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// ServeHTTP answers one request. It returns at the latest when the Gateway is closed.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	if g.staying.Err() != nil {
		g.mu.Unlock()
		w.Header().Set("Connection", "close")
		http.Error(w, "the gateway is closing", http.StatusServiceUnavailable)
		return
	}
	g.active.Add(1)
	g.mu.Unlock()
	defer g.active.Done()

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	r = r.WithContext(ctx)

	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path == "/healthz" { // a balancer knows neither names nor tokens
		g.health(w)
		return
	}
	if !g.admitted(w, r) {
		return
	}
	at, err := parsePath(r.URL.Path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodPost:
		g.post(w, r, at)
	case http.MethodGet:
		g.get(w, r, at)
	case http.MethodDelete:
		g.end(w, r, at)
	default:
		notAllowed(w, "GET, POST, DELETE")
	}
}

// spawn runs f on a goroutine that Close waits for. It is false once the Gateway is closed.
func (g *Gateway) spawn(f func(ctx context.Context)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.work.Go(func() { f(g.ctx) })
	return true
}

// leave takes no more requests, and ends the streams whose clients can go on elsewhere.
func (g *Gateway) leave() {
	g.mu.Lock()
	defer g.mu.Unlock() // whoever is not counted yet sees it
	g.left()
}

// Close ends every request that is being answered and waits for them. Sessions go on: another gateway can serve them.
func (g *Gateway) Close() error {
	g.leave()
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.active.Wait()
	g.work.Wait()
	return g.far.close()
}
