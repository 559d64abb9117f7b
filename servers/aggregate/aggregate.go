package aggregate

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// Kind is what an endpoint that is registered under a name is to be called there: registrations of this kind are never part of an endpoint.
const Kind = "aggregate"

// Options say what an endpoint is made of; nil is all defaults.
type Options struct {
	// Group limits the endpoint to the members of a group that have a name; "" is every server of the scope.
	Group string
	// Skip leaves out registrations, besides those of the kind Kind and, without a Group, those that are no MCP servers. nil: none.
	Skip func(registry.Record) bool
	// Patience is how long a list waits for a server that has not answered yet (0: 2 s). The time counts once for each server, from when it was found.
	Patience time.Duration
	// PageSize is how many items one page of a list holds at most (0: 1,000).
	PageSize int
	// OpenTimeout is how long a server may take to open a client's session (0: 1 minute).
	OpenTimeout time.Duration
	Logger      *slog.Logger // nil: none
}

// Endpoint is many servers in the shape of one. It is a wire.Backend; its methods may be called concurrently.
type Endpoint struct {
	caller *wire.Caller
	reg    *registry.Registry
	opts   Options
	log    *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	found  chan struct{} // closed when the registry's view was read once
	stale  chan struct{} // holds one token when the table is to be made anew

	mu            sync.Mutex
	members       map[string]*member
	moved         chan struct{} // closed, and made anew, when a member settles or leaves
	now           *table        // nil: to be made
	shown         *table        // that clients were told of
	conversations map[*conversation]struct{}
	learned       map[string]string // whose a URI is that nobody lists
	closed        bool
}

// New makes an endpoint of what reg shows, reached through caller. It begins to ask the servers for their lists at once. It ends with Close, which closes neither
// the caller nor the registry. Group is a name as the registry knows it; of one that is none the endpoint stays empty.
func New(caller *wire.Caller, reg *registry.Registry, opts *Options) *Endpoint {
	if opts == nil {
		opts = &Options{}
	}
	e := &Endpoint{
		caller: caller, reg: reg, opts: *opts, log: opts.Logger,
		found: make(chan struct{}), stale: make(chan struct{}, 1),
		members: map[string]*member{}, moved: make(chan struct{}), shown: newTable(nil),
		conversations: map[*conversation]struct{}{}, learned: map[string]string{},
	}
	if e.opts.Patience <= 0 {
		e.opts.Patience = 2 * time.Second
	}
	if e.opts.PageSize <= 0 {
		e.opts.PageSize = pageItems
	}
	if e.opts.OpenTimeout <= 0 {
		e.opts.OpenTimeout = time.Minute
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.work.Go(e.watch)
	e.work.Go(e.spread)
	return e
}

// Close ends every conversation and waits for the goroutines.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	all := e.conversations
	e.conversations = map[*conversation]struct{}{}
	e.mu.Unlock()
	for c := range all {
		c.end()
	}
	e.mu.Lock()
	e.cancel() // under the lock: consider starts members
	e.mu.Unlock()
	e.work.Wait()
	return nil
}

// Shared gives the conversation of all clients without a session.
func (e *Endpoint) Shared() wire.Pipe {
	pipe, err := e.open(false)
	if err != nil {
		return nil
	}
	return pipe
}

// Open starts the conversation of one legacy client. It is wire.ErrClosed after Close.
func (e *Endpoint) Open(context.Context) (wire.Pipe, error) { return e.open(true) }

func (e *Endpoint) open(legacy bool) (wire.Pipe, error) {
	ours, theirs := wire.Pair()
	c := newConversation(e, ours, legacy)
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		c.cancel()
		return nil, wire.ErrClosed
	}
	e.conversations[c] = struct{}{}
	e.work.Go(c.run)
	e.work.Go(c.tell)
	e.mu.Unlock()
	return theirs, nil
}

func (e *Endpoint) forget(c *conversation) {
	e.mu.Lock()
	delete(e.conversations, c)
	e.mu.Unlock()
}

// Servers are the names of the servers whose lists are shown now, and how many others were found that have not answered.
func (e *Endpoint) Servers() (names []string, silent int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, m := range e.members {
		if m.loaded {
			names = append(names, name)
		} else {
			silent++
		}
	}
	return names, silent
}
