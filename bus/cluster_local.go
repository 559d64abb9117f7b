package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nuid"
)

// LocalOptions describe a cluster in this process; nil is all defaults.
type LocalOptions struct {
	Dir             string        // the nodes' directories are made below it; "": temporary, removed at Close
	ElectionTimeout time.Duration // as in NodeOptions
	Logger          *slog.Logger
}

// Cluster is several nodes in one process, on loopback ports: for tests, demos and development. It survives what a node can survive, but
// not the process. Its methods may be called at once, but for Kill and Restart of the same node.
type Cluster struct {
	opts    LocalOptions
	dir     string
	temp    bool
	secret  string
	listen  []string // for clients; fixed once a node has run, so that clients find it again
	routes  []string
	mu      sync.Mutex
	nodes   []*Node
	stopped []bool
}

// startAttempts: the ports of the routes must be known before the first node starts, so they are reserved, given back and taken again;
// another process may take one in between.
const startAttempts = 5

// StartCluster starts n nodes, named n1, n2 and so on, and waits until JetStream can be used on each (about a second).
func StartCluster(ctx context.Context, n int, opts *LocalOptions) (*Cluster, error) {
	if opts == nil {
		opts = &LocalOptions{}
	}
	if n < 2 {
		return nil, fmt.Errorf("%w: a cluster of %d nodes", ErrBadOptions, n)
	}
	var err error
	for range startAttempts {
		var c *Cluster
		if c, err = startCluster(ctx, n, *opts); err == nil {
			return c, nil
		}
		if !errors.Is(err, ErrAddressInUse) {
			break
		}
	}
	return nil, err
}

func startCluster(ctx context.Context, n int, opts LocalOptions) (_ *Cluster, err error) {
	c := &Cluster{opts: opts, dir: opts.Dir, secret: nuid.Next(), nodes: make([]*Node, n), stopped: make([]bool, n)}
	if c.dir == "" {
		c.temp = true
		if c.dir, err = os.MkdirTemp("", "toolbus-cluster-"); err != nil {
			return nil, fmt.Errorf("bus: %w", err)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.routes, err = FreeAddrs(n); err != nil {
		return nil, err
	}
	for range n {
		c.listen = append(c.listen, "127.0.0.1:0")
	}
	for i := range n {
		if err := c.startNode(ctx, i); err != nil {
			return nil, err
		}
	}
	for _, node := range c.nodes {
		if err := node.WaitReady(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) startNode(ctx context.Context, i int) error {
	name := fmt.Sprintf("n%d", i+1)
	node, err := StartNode(ctx, &NodeOptions{
		Name:            name,
		Dir:             filepath.Join(c.dir, name),
		Listen:          c.listen[i],
		Cluster:         &ClusterOptions{Name: "local", Listen: c.routes[i], Nodes: c.routes, Secret: c.secret},
		ElectionTimeout: c.opts.ElectionTimeout,
		Logger:          c.opts.Logger,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i], c.stopped[i] = node, false
	c.listen[i] = node.URL()[len("nats://"):]
	return nil
}

// Nodes are all nodes in order, those that were killed included.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Node(nil), c.nodes...)
}

// Node is the node with index i, from 0.
func (c *Cluster) Node(i int) *Node { return c.Nodes()[i] }

// URL lists the client URLs of all nodes, for Connect.
func (c *Cluster) URL() string {
	url := ""
	for i, node := range c.Nodes() {
		if i > 0 {
			url += ","
		}
		url += node.URL()
	}
	return url
}

// WaitReady waits until JetStream can be used on each node that was not killed.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for i, node := range c.Nodes() {
		c.mu.Lock()
		stopped := c.stopped[i]
		c.mu.Unlock()
		if stopped {
			continue
		}
		if err := node.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends node i as hard as one process can: its routes are cut before the server learns of anything, so it says no goodbye and hands
// no leadership over. It is not kill -9: the node's own connections are closed in order, and its store is written out. Its addresses stay
// its own, see Restart.
func (c *Cluster) Kill(i int) error {
	c.mu.Lock()
	node := c.nodes[i]
	c.stopped[i] = true
	c.mu.Unlock()
	cutRoutes(node.srv)
	var wg sync.WaitGroup
	wg.Go(node.srv.Shutdown) // at once, before the other nodes' routes are back: what it still says nobody hears
	err := node.Close()
	wg.Wait()
	return err
}

// Stop ends node i in good order.
func (c *Cluster) Stop(ctx context.Context, i int) error {
	c.mu.Lock()
	node := c.nodes[i]
	c.stopped[i] = true
	c.mu.Unlock()
	return node.Shutdown(ctx)
}

// Restart starts node i again with its store, on its old addresses, and waits until it is ready.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	if err := c.Node(i).Close(); err != nil {
		return err
	}
	for {
		err := c.startNode(ctx, i)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrAddressInUse) {
			return err
		}
		select { // somebody has one of the ports for a moment, such as an outgoing connection
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
	return c.Node(i).WaitReady(ctx)
}

// Close stops all nodes at once and removes a temporary directory.
func (c *Cluster) Close() error {
	var errs []error
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, node := range c.Nodes() {
		if node == nil {
			continue
		}
		wg.Go(func() {
			if err := node.Close(); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if c.temp {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}
