package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
)

// dial makes the NATS connection.
func (c *Conn) dial(ctx context.Context, url string, opts *ConnectOptions) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := &ctxDialer{ctx: ctx}
	defer d.release()
	nopts := c.natsOptions(ctx, opts)
	if c.node != nil {
		nopts = append(nopts, nats.InProcessServer(inProcess{c.node}))
	} else {
		nopts = append(nopts, nats.SetCustomDialer(d))
	}
	auth, err := authOptions(opts)
	if err != nil {
		return nil, err
	}
	nopts = append(nopts, auth...)
	if c.node == nil && (opts.Context != "" || opts.SelectedContext) {
		read := false // nats.Connect applies options when the context's file was read and understood
		nopts = append(nopts, func(o *nats.Options) error {
			read = true
			if url != "" {
				o.Url, o.Servers = "", strings.Split(strings.ReplaceAll(url, " ", ""), ",")
			}
			return nil
		})
		if c.nc, _, err = natscontext.Connect(opts.Context, nopts...); err != nil && !read {
			err = fmt.Errorf("%w: NATS context: %w", ErrBadOptions, err)
		}
	} else {
		if url == "" {
			url = DefaultURL
		}
		c.nc, err = nats.Connect(url, nopts...)
	}
	if err == nil && c.node == nil {
		c.pool.learn(c.nc)
	}
	return c.nc, err
}

func (c *Conn) natsOptions(ctx context.Context, opts *ConnectOptions) []nats.Option {
	timeout := opts.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	ping := opts.PingInterval
	if ping <= 0 {
		ping = pingInterval
	}
	nopts := []nats.Option{
		nats.Name(c.name),
		nats.Timeout(timeout),
		nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(ping),
		nats.MaxPingsOutstanding(maxPingsOut),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // a write that waits in a buffer may commit any time later: never
		nats.CustomReconnectDelay(reconnectDelay),
		nats.IgnoreAuthErrorAbort(), // a server that comes up may refuse for a moment; for ever means for ever
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			why := "disconnected"
			if err != nil {
				why += ": " + err.Error()
			}
			c.log.Info("disconnected", "conn", c.name, "error", err)
			c.link.setConn(false, why)
			if c.node == nil {
				c.link.notify.serial.do(func() {
					if err := c.pool.restore(nc); err != nil {
						c.log.Debug("known servers not restored", "conn", c.name, "error", err)
					}
				})
			}
		}),
		nats.DiscoveredServersHandler(func(nc *nats.Conn) { c.pool.learn(nc) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.log.Info("reconnected", "conn", c.name, "server", nc.ConnectedServerName())
			c.link.setConn(true, "reconnected")
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			c.log.Debug("not reconnected", "conn", c.name, "error", err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			c.log.Warn("NATS reports an error", "conn", c.name, "subject", subject, "error", err)
		}),
	}
	if opts.InboxPrefix != "" {
		nopts = append(nopts, nats.CustomInboxPrefix(opts.InboxPrefix))
	}
	return nopts
}

// reconnectDelay is asked when every known server was tried (with one server: before the first attempt). The first round starts at once, since a
// lone client of a restarted server is missed by others within 250 ms; then slower, with jitter, to half a second: servers that come
// back are not stormed.
func reconnectDelay(round int) time.Duration {
	if round <= 1 {
		return 0
	}
	base := min(10*time.Millisecond<<min(round-2, 6), 500*time.Millisecond)
	return base/2 + rand.N(base/2+1)
}

func authOptions(opts *ConnectOptions) ([]nats.Option, error) {
	var nopts []nats.Option
	if opts.User != "" || opts.Password != "" {
		nopts = append(nopts, nats.UserInfo(opts.User, opts.Password))
	}
	if opts.Token != "" {
		nopts = append(nopts, nats.Token(opts.Token))
	}
	if opts.Creds != "" {
		if _, err := os.Stat(opts.Creds); err != nil {
			return nil, fmt.Errorf("%w: credentials file: %w", ErrAuth, err)
		}
		nopts = append(nopts, nats.UserCredentials(opts.Creds))
	}
	if opts.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(opts.NKey)
		if err != nil {
			return nil, fmt.Errorf("%w: nkey file: %w", ErrAuth, err)
		}
		nopts = append(nopts, o)
	}
	if t := opts.TLS; t != nil {
		for _, file := range []string{t.CA, t.Cert, t.Key} {
			if _, err := os.Stat(file); file != "" && err != nil {
				return nil, fmt.Errorf("%w: TLS file: %w", ErrBadOptions, err)
			}
		}
		if t.CA != "" {
			nopts = append(nopts, nats.RootCAs(t.CA))
		}
		if (t.Cert == "") != (t.Key == "") {
			return nil, fmt.Errorf("%w: a client certificate needs both certificate and key", ErrBadOptions)
		}
		if t.Cert != "" {
			nopts = append(nopts, nats.ClientCert(t.Cert, t.Key))
		}
	}
	return nopts, nil
}

// dialError names what went wrong for the one who has to do something about it.
func dialError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
	case errors.Is(err, ErrAuth), errors.Is(err, ErrBadOptions), errors.Is(err, ErrClosed):
		return err
	}
	if t := translate(err); errors.Is(t, ErrAuth) {
		return t
	}
	var op *net.OpError
	if errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.As(err, &op) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return fmt.Errorf("bus: connect: %w", err)
}

// ctxDialer gives nats.Connect, which knows no context, one for the time of the first connect.
type ctxDialer struct {
	mu    sync.Mutex
	ctx   context.Context
	stops []func() bool
}

func (d *ctxDialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	ctx := d.ctx
	d.mu.Unlock()
	dialer := net.Dialer{Timeout: defaultTimeout}
	if ctx == nil { // a reconnect
		return dialer.Dial(network, address)
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// The handshake that follows ends with ctx as well.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	d.mu.Lock()
	d.stops = append(d.stops, stop)
	d.mu.Unlock()
	return conn, nil
}

func (d *ctxDialer) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = nil
	for _, stop := range d.stops {
		stop()
	}
}
