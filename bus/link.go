package bus

import (
	"context"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
)

// link is the state of a connection: connected or not, and for a node's connection also whether the node sees a majority of its cluster.
type link struct {
	notify *notifier[func(up bool, why string)]

	mu       sync.Mutex
	conn     bool
	connWhy  string
	majority bool
	majWhy   string
	up       bool
	why      string
	final    bool
	lost     context.Context // ends when this time of being connected ends
	lose     context.CancelCauseFunc
}

func newLink(majority bool, majWhy string) *link {
	l := &link{notify: newNotifier[func(bool, string)](), majority: majority, majWhy: majWhy}
	l.lost, l.lose = context.WithCancelCause(context.Background())
	l.conn, l.connWhy = true, "connected"
	l.up, l.why = l.state()
	return l
}

func (l *link) state() (up bool, why string) {
	switch {
	case !l.conn:
		return false, l.connWhy
	case !l.majority:
		return false, l.majWhy
	}
	return true, l.connWhy
}

// tell passes a change on. With force it does so even if up stays what it was: a new connection is an event of its own.
func (l *link) tell(force bool) {
	up, why := l.state()
	if up == l.up && !force {
		l.why = why
		return
	}
	l.up, l.why = up, why
	l.notify.tell(func(fn func(bool, string)) { fn(up, why) })
}

func (l *link) setConn(up bool, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.final || (up == l.conn && !up) {
		return
	}
	if up == l.conn {
		// Connected again although no loss was told: nats.go reports both in order, so this is another server at once.
		l.lose(ErrDisconnected)
	}
	l.conn, l.connWhy = up, why
	if up {
		l.lost, l.lose = context.WithCancelCause(context.Background())
	} else {
		l.lose(ErrDisconnected)
	}
	l.tell(up)
}

// end is the last change: closed for good.
func (l *link) end(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.final {
		return
	}
	l.final = true
	l.conn, l.connWhy = false, why
	l.lose(ErrClosed)
	l.lost, l.lose = context.WithCancelCause(context.Background()) // it may have ended before, for another reason
	l.lose(ErrClosed)
	l.tell(true)
}

func (l *link) setMajority(ok bool, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.final {
		return
	}
	l.majority, l.majWhy = ok, why
	l.tell(false)
}

// session is a context that ends, with cause ErrDisconnected or ErrClosed, when the present connection does.
func (l *link) session() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// NotifyLink calls fn with the present state, and then whenever the connection is lost or back; each new connection is told, also when
// its loss was too short to be seen. On a node's connection up is false, too, while the node is connected to less than a majority of its
// cluster: what it can still serve nobody else knows of. why is for people. After a final close fn is told once and never again.
//
// Calls come in order and never concurrently, from a goroutine of the connection; the first one may come after NotifyLink has returned.
// fn is to be quick. The returned stop waits until fn does not run: do not call it from fn.
func (c *Conn) NotifyLink(fn func(up bool, why string)) (stop func()) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	up, why := l.up, l.why
	return l.notify.add(fn, func(fn func(bool, string)) { fn(up, why) })
}

// Link names the present connection as the server's events do: the server's id and the connection's number there; and how many servers this
// connection could use, as far as it knows. All is zero while disconnected. Both ids change with each new connection.
func (c *Conn) Link() (server, client string, servers int) {
	for {
		before := c.nc.Stats().Reconnects
		if c.nc.Status() != nats.CONNECTED {
			return "", "", 0
		}
		server = c.nc.ConnectedServerId()
		id, err := c.nc.GetClientID()
		if err != nil || server == "" {
			return "", "", 0
		}
		servers = 1
		if c.node == nil {
			servers = len(c.nc.Servers())
		}
		if c.nc.Stats().Reconnects == before { // else the two ids may be of different connections
			return server, strconv.FormatUint(id, 10), servers
		}
	}
}
