package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// ChildWord is the command of a program whose processes end in ChildMain.
const ChildWord = "bench-child"

// Request is what a process of the lab is asked to do. Which members count depends on the verb.
type Request struct {
	Verb    string   `json:"verb"`
	Name    string   `json:"name,omitempty"`
	URL     string   `json:"url,omitempty"`
	Dir     string   `json:"dir,omitempty"`
	Cluster string   `json:"cluster,omitempty"`
	Join    []string `json:"join,omitempty"`
	Scope   string   `json:"scope,omitempty"`
	Group   string   `json:"group,omitempty"`
	N       int      `json:"n,omitempty"`
	Many    int      `json:"many,omitempty"` // at once, or in one call
	Size    int      `json:"size,omitempty"`
	At      int64    `json:"at,omitempty"` // by the shared clock
	Command []string `json:"command,omitempty"`
}

// Reply is what it found.
type Reply struct {
	URL     string          `json:"url,omitempty"`
	PID     int             `json:"pid,omitempty"`
	At      int64           `json:"at,omitempty"`
	Ats     []int64         `json:"ats,omitempty"`
	N       int             `json:"n,omitempty"`
	Elapsed time.Duration   `json:"elapsed,omitempty"`
	Samples []time.Duration `json:"samples,omitempty"`
	Bytes   float64         `json:"bytes,omitempty"`
	OK      bool            `json:"ok,omitempty"`
}

// nodeTTL is the TTL of a scope on our own nodes.
const nodeTTL = 6 * time.Second

// child is the state of one process of the lab.
type child struct {
	node *bus.Node
	conn *bus.Conn
	reg  *registry.Registry
	host *servers.Host

	sessions []*registry.Session
	waiting  chan Reply // what a verb that began answers later
	client   *caller
	floor    *floorServer
}

// verbs is what a child can do.
var verbs = map[string]func(c *child, ctx context.Context, r Request) (Reply, error){
	"node":     (*child).startNode,
	"connect":  (*child).connect,
	"open":     (*child).open,
	"shut":     (*child).shut,
	"register": (*child).register,
	"claim":    (*child).claim,
	"publish":  (*child).publish,
	"hold":     (*child).hold,
	"sessions": (*child).manySessions,
	"lookup":   (*child).lookup,
	"whereis":  (*child).whereis,
	"members":  (*child).members,
	"gone":     (*child).gone,
	"down":     (*child).down,
	"seen":     (*child).seen,
	"collect":  (*child).collect,
	"write":    (*child).writeUntil,
	"leads":    (*child).leads,
	"join":     (*child).join,
	"serve":    (*child).serve,
	"dial":     (*child).dial,
	"call":     (*child).call,
	"memory":   (*child).memory,
	"stdio":    (*child).stdio,
	"listen":   (*child).listen,
	"http":     (*child).http,
	"raw":      (*child).raw,
	"echo":     (*child).echo,
}

// ChildMain is a process of a lab: it does what the lab asks on stdin until that ends, and returns the exit status.
func ChildMain(in io.Reader, out io.Writer) int {
	ctx, stopped := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stopped()
	c := &child{}
	err := Serve(ctx, in, out, func(ctx context.Context, line json.RawMessage) (any, error) {
		var r Request
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, err
		}
		do, ok := verbs[r.Verb]
		if !ok {
			return nil, fmt.Errorf("no verb %q", r.Verb)
		}
		return do(c, ctx, r)
	})
	c.close()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// close leaves without a goodbye what the end of the process ends: a lab that closes has nothing to keep.
func (c *child) close() {
	if c.node != nil {
		_ = c.node.Close() // the process ends now
	}
}

func (c *child) startNode(ctx context.Context, r Request) (Reply, error) {
	opts := &bus.NodeOptions{Name: r.Name, Dir: r.Dir, Listen: "127.0.0.1:0"}
	if r.Cluster != "" {
		opts.Cluster = &bus.ClusterOptions{Listen: r.Cluster, Nodes: r.Join, Secret: "bench"}
	}
	node, err := bus.StartNode(ctx, opts)
	if err != nil {
		return Reply{}, err
	}
	c.node = node
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := node.WaitReady(ready); err != nil {
		return Reply{}, err
	}
	if c.conn, err = node.Connect(ctx, nil); err != nil {
		return Reply{}, err
	}
	return Reply{URL: node.URL(), PID: os.Getpid()}, nil
}

func (c *child) connect(ctx context.Context, r Request) (Reply, error) {
	conn, err := bus.Connect(ctx, r.URL, &bus.ConnectOptions{Name: r.Name})
	if err != nil {
		return Reply{}, err
	}
	c.conn = conn
	return Reply{PID: os.Getpid()}, nil
}

// open opens the registry of a scope, and leaves the one before.
func (c *child) open(ctx context.Context, r Request) (Reply, error) {
	if _, err := c.shut(ctx, r); err != nil {
		return Reply{}, err
	}
	began := time.Now()
	store, err := kvstore.OpenJetStream(ctx, c.conn.NATS(), r.Scope, &kvstore.JetStreamOptions{
		Metadata: map[string]string{registry.MetadataTTL: nodeTTL.String(), registry.MetadataPulse: time.Second.String()}, // as `toolbus up` makes it
	})
	if err != nil {
		return Reply{}, err
	}
	role := registry.Candidate
	if c.node != nil {
		role = registry.Node
	}
	if c.reg, err = registry.Open(ctx, store, &registry.Options{Scope: r.Scope, Peers: c.conn, Role: role}); err != nil {
		return Reply{}, err
	}
	if err := c.reg.WaitSynced(ctx); err != nil {
		return Reply{}, err
	}
	return Reply{Elapsed: time.Since(began), N: len(c.reg.Names())}, nil
}

// shut leaves the scope. Sessions end with it.
func (c *child) shut(ctx context.Context, _ Request) (Reply, error) {
	var errs []error
	if c.client != nil {
		errs = append(errs, c.client.close())
		c.client = nil
	}
	if c.host != nil {
		errs = append(errs, c.host.Close())
		c.host = nil
	}
	c.sessions = nil
	if c.reg != nil {
		errs = append(errs, c.reg.Close(ctx))
		c.reg = nil
	}
	return Reply{}, errors.Join(errs...)
}

// session is the child's session, opened at the first call.
func (c *child) session(ctx context.Context) (*registry.Session, error) {
	if len(c.sessions) == 0 {
		s, err := c.reg.NewSession(ctx, nil)
		if err != nil {
			return nil, err
		}
		c.sessions = append(c.sessions, s)
	}
	return c.sessions[0], nil
}
