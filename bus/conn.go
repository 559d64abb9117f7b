package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ConnectOptions describe a connection; nil is all defaults.
type ConnectOptions struct {
	// Role and Name make the connection's name, "toolbus ROLE NAME", as `nats server report connections` shows it. Defaults: "client" or, on a
	// node's connection, "node"; the node's name, or none.
	Role, Name string

	// Context is a context of the nats CLI, by name or as the absolute path of its file; it gives URL and credentials, and what is set
	// here as well overrides it.
	Context string
	// SelectedContext takes the context that `nats context select` chose, if there is one and Context is "".
	SelectedContext bool

	// Credentials, of which the server decides what it wants. Creds is the path of a .creds file, NKey that of a file with a seed.
	Creds, NKey, User, Password, Token string
	// TLS gives files in PEM form, nil: as the URL's scheme says.
	TLS *TLSOptions
	// InboxPrefix replaces "_INBOX" as the prefix of reply subjects, for permissions by prefix.
	InboxPrefix string

	// Timeout bounds one attempt to reach one server (0: 5 s).
	Timeout time.Duration
	// PingInterval is how often an idle connection is checked (0: 2 s); after two unanswered pings it is lost.
	PingInterval time.Duration
	// DrainTimeout is how long Close waits for running handlers before it ends their contexts (0: 10 s).
	DrainTimeout time.Duration
	// Logger, nil: none.
	Logger *slog.Logger
}

// TLSOptions are paths of PEM files, as the nats CLI takes them. Each may be "".
type TLSOptions struct{ CA, Cert, Key string }

// DefaultURL is where a node listens, and every command looks, unless told otherwise.
const DefaultURL = nats.DefaultURL

const (
	defaultTimeout      = 5 * time.Second
	defaultDrainTimeout = 10 * time.Second
	// A server that takes no bytes for so long is lost. nats.go holds the connection's lock while it writes, so its own minute would stop
	// everything.
	writeTimeout = 5 * time.Second
)

// Conn is one connection to NATS: to a node in this process, or to any NATS server of MinServerVersion or newer. It reconnects for ever,
// the first time at once, and buffers nothing meanwhile: what cannot be sent now is an error now, never a surprise later. All methods are
// safe for concurrent use.
type Conn struct {
	nc     *nats.Conn
	node   *Node // nil but for a node's own connections
	log    *slog.Logger
	name   string
	drain  time.Duration
	link   *link
	pool   pool
	closed chan struct{}

	control *control
	serving *serving
	once    sync.Once
	err     error
}

// Connect connects to url, one or several separated by commas. url "" is the context's, and without context DefaultURL. It fails at once
// if no server can be reached (ErrUnreachable), the credentials are refused (ErrAuth) or the server is too old (ErrTooOld); after that
// the connection lasts until Close. ctx bounds the first connect only.
func Connect(ctx context.Context, url string, opts *ConnectOptions) (*Conn, error) {
	if opts == nil {
		opts = &ConnectOptions{}
	}
	c := newConn(opts, "client", nil)
	nc, err := c.dial(ctx, url, opts)
	if err != nil {
		c.end("never connected")
		return nil, dialError(ctx, err)
	}
	if err := CheckVersion(nc.ConnectedServerVersion()); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func connectNode(ctx context.Context, n *Node, opts *ConnectOptions) (*Conn, error) {
	if opts == nil {
		opts = &ConnectOptions{}
	}
	named := *opts
	if named.Name == "" {
		named.Name = n.name
	}
	if named.Logger == nil {
		named.Logger = n.log
	}
	c := newConn(&named, "node", n)
	if _, err := c.dial(ctx, "", &named); err != nil {
		c.end("never connected")
		if ctx.Err() == nil && n.isClosing() {
			err = ErrClosed
		}
		return nil, fmt.Errorf("connect to node %q: %w", n.name, dialError(ctx, err))
	}
	if !n.addConn(c) {
		c.abort("the node is closed")
		return nil, fmt.Errorf("connect to node %q: %w", n.name, ErrClosed)
	}
	c.link.setMajority(n.peers.state()) // it may have changed before the node knew of this connection
	return c, nil
}

func newConn(opts *ConnectOptions, role string, n *Node) *Conn {
	if opts.Role != "" {
		role = opts.Role
	}
	c := &Conn{node: n, log: loggerOr(opts.Logger), drain: opts.DrainTimeout, closed: make(chan struct{})}
	c.name = "toolbus " + role
	if opts.Name != "" {
		c.name += " " + opts.Name
	}
	if c.drain <= 0 {
		c.drain = defaultDrainTimeout
	}
	majority, why := true, ""
	if n != nil {
		majority, why = n.peers.state()
	}
	c.link = newLink(majority, why)
	c.control = newControl(c)
	c.serving = newServing(c)
	return c
}

// NATS is the underlying connection: the escape hatch, for JetStream among others. Do not close it, and leave its handlers alone.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// Name is the connection's name as the server shows it.
func (c *Conn) Name() string { return c.name }

// Node is the node that this connection belongs to, nil for one that came by a URL.
func (c *Conn) Node() *Node { return c.node }

// Done is closed when the connection is closed for good: by Close, or because its node has stopped.
func (c *Conn) Done() <-chan struct{} { return c.closed }

// Flush waits until the server has handled all that was sent before, subscriptions included.
func (c *Conn) Flush(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
		ctx = bounded
	}
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return c.sendError(ctx, err)
	}
	return nil
}

// sendError translates, and tells a lost connection from a context that ended.
func (c *Conn) sendError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && (errors.Is(cause, ErrDisconnected) || errors.Is(cause, ErrClosed)) {
		return cause
	}
	return translate(err)
}

// Close drains and closes: handlers stop taking requests, those that were taken are finished and answered, then the connection ends. After
// DrainTimeout the contexts of handlers still running are ended; Close waits for them a little longer and then returns an error that is
// context.DeadlineExceeded. Closing twice is fine. Do not call it from a handler or callback of this connection.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.err = c.serving.close(c.drain)
		c.finish("closed")
	})
	return c.err
}

// abort closes without drain.
func (c *Conn) abort(why string) {
	c.once.Do(func() {
		c.serving.abort()
		c.finish(why)
	})
}

func (c *Conn) finish(why string) {
	if c.nc.Status() == nats.CONNECTED && c.serving.used() {
		_ = c.nc.FlushTimeout(time.Second) // the last answers; a server that does not take them within a second is lost anyway
	}
	c.link.end(why) // before: else the loss of the connection would be told first
	c.nc.Close()
	c.end(why)
	if c.node != nil {
		c.node.dropConn(c)
	}
}

// end takes down all but the NATS connection.
func (c *Conn) end(why string) {
	c.control.close()
	c.serving.abort()
	c.link.end(why)
	c.link.notify.close()
	close(c.closed)
}
