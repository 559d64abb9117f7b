package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus"
)

// Target is whom a caller wants: a name, a group (one member of it), or exactly one instance of a name.
type Target struct {
	Name     string
	Group    string
	Instance string // with Name
	Token    string // the fencing token of the owner that is meant; "" is whoever answers
}

// String is the target as an error names it.
func (t Target) String() string {
	switch {
	case t.Group != "":
		return "group " + t.Group
	case t.Instance != "":
		return t.Name + " (instance " + t.Instance + ")"
	}
	return t.Name
}

// Owner is what a caller waits for: an instance, or (Instance "") anybody behind a name or group.
type Owner struct{ Name, Group, Instance, Lease string }

// CallerOptions are for all conversations of one Caller; nil is all defaults.
type CallerOptions struct {
	Scope string // "": "default"

	// Ended watches one instance: its channel delivers why, or is closed, once the instance or its lease is known to have ended. It
	// is called once for each instance that has calls or a session of this Caller; ctx ends when nobody cares any more. With it,
	// the end of the lease ends calls, and an instance that is merely not to be reached for a moment does not.
	// nil: two probes in a row that find no interest end them.
	Ended func(ctx context.Context, owner Owner) <-chan string
	// Unanswered may say more about a target that nobody listens for: that there is no such name, or who has it and is silent.
	Unanswered func(t Target) *Error

	// Held tells whether the registry knows somebody who is to listen for a target. Then a request that nobody listened for is sent once more after 50 ms, because
	// a name is visible some milliseconds before its new owner listens. nil: none is, and no request is sent again.
	Held func(t Target) bool

	// Limit is how long a call of this method may take at most, 0 for ever; nil: none has a limit, but for Silence. A call that reaches it is cancelled.
	Limit func(method string) time.Duration
	// Silence is how long a tools/call may say nothing: no progress, no answer (0: 5 minutes; negative: for ever). It is cancelled then, and after Longest
	// whatever it says (0: 1 hour; negative: never).
	Silence, Longest time.Duration

	// Repeatable tells whether a tool may be called again where it is not known whether the first call was carried out; nil: what tools/list has said
	// to this Caller, the annotations readOnlyHint and idempotentHint.
	Repeatable func(t Target, tool string) bool

	FirstFrame time.Duration // how long a call waits for its first frame, and for frames that were lost (0: 10 s). Instances send the first within 100 ms
	MaxMessage int           // the largest message in bytes, both ways (0: DefaultMaxMessage)
	Idle       time.Duration // how long a session that Open has opened lives unused, in whole seconds (0: DefaultIdle)
	Logger     *slog.Logger
}

// Caller is the callers' side of one connection: any number of conversations, one subscription, one probe a second for each instance
// that owes something. All methods may be called concurrently.
type Caller struct {
	nc    *nats.Conn
	opts  CallerOptions
	limit int
	idle  time.Duration
	log   *slog.Logger
	inbox string
	in    chan *nats.Msg
	sub   *nats.Subscription

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	away   atomic.Bool // the connection is away: publishing may wait for a lock

	payload atomic.Int64 // what the server takes: asking the connection may wait for its lock too

	mu      sync.Mutex
	clients map[string]*client
	owners  map[string]*owner // by instance and lease
	probes  map[string]*probe
	next    uint64
	tools   map[string]map[string]bool // by target: the tools that may be called again
}

// NewCaller starts a Caller on conn. It ends with Close.
func NewCaller(conn *bus.Conn, opts *CallerOptions) (*Caller, error) {
	if opts == nil {
		opts = &CallerOptions{}
	}
	nc := conn.NATS()
	c := &Caller{
		nc: nc, opts: *opts, limit: positive(opts.MaxMessage, DefaultMaxMessage), log: opts.Logger,
		inbox: nc.NewInbox(), in: make(chan *nats.Msg, inboundBuffer),
		clients: map[string]*client{}, owners: map[string]*owner{}, probes: map[string]*probe{}, tools: map[string]map[string]bool{},
	}
	c.opts.Scope = orDefault(opts.Scope, "default")
	if c.opts.FirstFrame <= 0 {
		c.opts.FirstFrame = 10 * time.Second
	}
	if c.idle = opts.Idle.Round(time.Second); c.idle <= 0 {
		c.idle = DefaultIdle
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.payload.Store(nc.MaxPayload())
	sub, err := nc.ChanSubscribe(c.inbox+".>", c.in)
	if err != nil {
		c.cancel()
		return nil, fmt.Errorf("wire: %w", err)
	}
	c.sub = sub
	c.work.Go(c.sort)
	c.work.Go(c.watch)
	return c, nil
}

// Close closes every conversation and waits for the Caller's goroutines.
func (c *Caller) Close() error {
	c.mu.Lock()
	var clients []*client
	for _, p := range c.clients {
		clients = append(clients, p)
	}
	c.mu.Unlock()
	for _, p := range clients {
		_ = p.Close()
	}
	_ = c.sub.Unsubscribe() // fails only on a closed connection
	c.mu.Lock()
	c.cancel() // under the lock: see owner
	c.mu.Unlock()
	c.work.Wait()
	return nil
}

// Dial makes a conversation with the target. It says nothing on the bus: what the client writes decides. An initialize opens a legacy
// session, pinned to the instance that answered it; requests without a session go each to any instance of the target.
// Failures of single calls come back as error responses; Read ends with an error when the session does.
func (c *Caller) Dial(t Target) (Pipe, error) {
	p, err := c.dial(t, nil)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (c *Caller) dial(t Target, prepare func(*client)) (*client, error) {
	switch {
	case t.Group != "" && (t.Name != "" || t.Instance != ""):
		return nil, fmt.Errorf("wire: a target is a name or a group, not both: %q, %q", t.Name, t.Group)
	case t.Group != "" && !ValidName(t.Group):
		return nil, fmt.Errorf("wire: bad group %q", t.Group)
	case t.Group == "" && !ValidName(t.Name):
		return nil, fmt.Errorf("wire: bad name %q", t.Name)
	case t.Instance != "" && !validID(t.Instance):
		return nil, fmt.Errorf("wire: bad instance %q", t.Instance)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	c.next++
	p := newClient(c, t, strconv.FormatUint(c.next, 10))
	if prepare != nil {
		prepare(p) // before anybody else sees it
	}
	c.clients[p.tag] = p
	return p, nil
}

// Dial makes one conversation with a Caller of its own. Closing the pipe closes that too.
func Dial(conn *bus.Conn, t Target, opts *CallerOptions) (Pipe, error) {
	c, err := NewCaller(conn, opts)
	if err != nil {
		return nil, err
	}
	p, err := c.Dial(t)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	p.(*client).private = true
	return p, nil
}

// sort hands each frame to its conversation. It never waits for a reader.
func (c *Caller) sort() {
	for {
		select {
		case msg := <-c.in:
			tag, rest, _ := strings.Cut(strings.TrimPrefix(msg.Subject, c.inbox+"."), ".")
			if tag == "p" {
				c.answered(rest, msg)
				continue
			}
			c.mu.Lock()
			p := c.clients[tag]
			c.mu.Unlock()
			if p != nil {
				p.frame(rest, msg)
			} else {
				c.farewell(msg)
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// farewell answers a sign of life for what is not waited for any more: the instance may end it. A first frame for a conversation that was closed
// before anybody knew who has the call is one too.
func (c *Caller) farewell(msg *nats.Msg) {
	if instance, name := msg.Header.Get(HeaderInstance), msg.Header.Get(HeaderServer); msg.Header.Get(HeaderFrame) == frameAck && validID(instance) && ValidName(name) {
		subject := Subject{Scope: c.opts.Scope, Kind: ByInstance, Instance: instance, Method: MethodToken(methodCancelled), Name: name}
		_ = c.nc.PublishMsg(&nats.Msg{Subject: subject.String(), Data: []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled"}`), Header: nats.Header{
			HeaderWire: {Version}, HeaderFrame: {frameNotification}, HeaderCall: {msg.Subject},
		}}) // the signs of life find nobody either
		return
	}
	if msg.Header.Get(HeaderFrame) == frameBeat && msg.Reply != "" {
		_ = c.nc.PublishMsg(&nats.Msg{Subject: msg.Reply, Header: nats.Header{HeaderWire: {Version}, HeaderFrame: {frameBye}}})
	}
}

// spawn runs f on a goroutine that Close waits for, unless Close has begun to.
func (c *Caller) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() == nil {
		c.work.Go(f)
	}
}

func (c *Caller) forget(p *client) {
	c.mu.Lock()
	delete(c.clients, p.tag)
	c.mu.Unlock()
}

// owner returns the record of an instance, watched from now on.
func (c *Caller) owner(instance, lease, name string) *owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := instance + "." + lease // an instance may come back under another lease
	o := c.owners[key]
	if o != nil {
		o.unused = 0
		return o
	}
	if c.ctx.Err() != nil {
		return nil
	}
	o = &owner{Owner: Owner{Name: name, Instance: instance, Lease: lease}}
	o.ctx, o.cancel = context.WithCancel(c.ctx)
	c.owners[key] = o
	if c.opts.Ended != nil {
		ended := c.opts.Ended(o.ctx, o.Owner)
		c.work.Go(func() {
			select {
			case why := <-ended:
				c.end(o, orDefault(why, "its lease ended"))
			case <-o.ctx.Done():
			}
		})
	}
	return o
}

// end tells every conversation that an instance has ended.
func (c *Caller) end(o *owner, why string) {
	c.mu.Lock()
	if c.owners[o.key()] != o {
		c.mu.Unlock()
		return
	}
	delete(c.owners, o.key())
	var clients []*client
	for _, p := range c.clients {
		clients = append(clients, p)
	}
	c.mu.Unlock()
	o.cancel()
	c.log.Info("an instance has ended", "name", o.Name, "instance", o.Instance, "why", why)
	for _, p := range clients {
		p.ownerEnded(o, why)
	}
}

// IsClosed tells whether err is the ordinary end of a conversation.
func IsClosed(err error) bool { return errors.Is(err, ErrClosed) }
