package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// NodeOptions describe a node. The zero value is a node alone in this process: no port, a temporary store.
type NodeOptions struct {
	// Name is shown to people and, in a cluster, is the node's identity in Raft: there it is required, unique, and the same at every start.
	// Default: "node-" and a random part.
	Name string
	// Dir keeps the JetStream store. "": a temporary directory, removed at Close. One node at a time; a directory made by a node alone is
	// refused in a cluster, and the reverse (*DirError).
	Dir string
	// Listen is the address for clients, such as "127.0.0.1:4222"; port 0 takes a free one. "": no port, in-process connections only; but
	// in a cluster it is a free port on loopback, since nats-server opens no routes without one. No host means loopback: who wants the
	// world writes 0.0.0.0.
	Listen string
	// Advertise is the HOST:PORT at which clients are told to find the node, where that is not Listen: behind a proxy, in a container.
	Advertise string
	// Cluster makes the node one of several. nil: alone.
	Cluster *ClusterOptions
	// ElectionTimeout is the longest wait for a lost Raft leader (0: DefaultElectionTimeout). It holds for the whole process, from the first
	// node on, and must be the same on all nodes of a cluster: *ElectionError otherwise.
	ElectionTimeout time.Duration
	// Logger takes the node's and its nats-server's lines (nil: none). The server's Info comes at Debug.
	Logger *slog.Logger
}

// Node is an embedded nats-server with JetStream that acknowledges only what is on disk (sync_interval: always), in an account that needs no
// credentials, and with a system account that nobody but the node itself can enter. All methods are safe for concurrent use.
type Node struct {
	name     string
	cluster  *ClusterOptions // with defaults, or nil
	self     string          // this node's entry in cluster.Nodes
	election time.Duration
	log      *slog.Logger
	srvLog   *serverLog
	dir      *nodeDir
	srv      *server.Server
	sys      *nats.Conn // in the system account, in-process
	lost     *notifier[func(server, client, reason string)]
	peers    *peerWatch // nil when alone
	down     chan struct{}
	url      string // both are set once it listens, and stay after the end
	route    string

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	pipes   map[*pipeConn]struct{}
	closing bool
	ended   sync.WaitGroup // the goroutine that waits for the server's end
	once    sync.Once
	err     error
}

// startTimeout bounds the start of a server that says nothing: long, since a big store is read first.
const startTimeout = 2 * time.Minute

// StartNode starts a node and returns when it listens and JetStream has read its store. A node of a cluster is then not yet usable: see
// WaitReady. Errors: ErrBadOptions, ErrDirInUse, ErrWrongDir, ErrAddressInUse, ErrElectionTimeout. When ctx ends first the node is shut
// down again and nothing is left but its directory.
func StartNode(ctx context.Context, opts *NodeOptions) (*Node, error) {
	if opts == nil {
		opts = &NodeOptions{}
	}
	n := &Node{name: opts.Name, log: loggerOr(opts.Logger), conns: map[*Conn]struct{}{}, pipes: map[*pipeConn]struct{}{}, down: make(chan struct{})}
	if n.name == "" && opts.Cluster == nil {
		n.name = "node-" + strings.ToLower(nuid.Next()[14:])
	}
	if err := n.applyCluster(opts.Cluster); err != nil {
		return nil, err
	}
	var err error
	if n.election, err = setElectionTimeout(opts.ElectionTimeout); err != nil {
		return nil, err
	}
	creds := newNodeCreds()
	sopts, err := n.serverOptions(opts, creds)
	if err != nil {
		return nil, err
	}
	mark := dirMark{}
	if n.cluster != nil {
		mark = dirMark{Node: n.name, Cluster: n.cluster.Name}
	}
	if n.dir, err = openDir(opts.Dir, mark); err != nil {
		return nil, err
	}
	sopts.StoreDir = n.dir.store()
	if err := n.start(ctx, sopts, creds); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.log.Info("node started", "node", n.name, "id", n.ID(), "url", n.URL(), "cluster", n.ClusterURL())
	return n, nil
}

// start brings up the server, the system connection and the watchers. What it made before an error is taken down by Close.
func (n *Node) start(ctx context.Context, sopts *server.Options, creds nodeCreds) error {
	if n.cluster != nil {
		n.peers = newPeerWatch(n)
	}
	n.srvLog = newServerLog(n.log, n.peers.kick)
	srv, err := server.NewServer(sopts)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadOptions, err)
	}
	srv.SetLoggerV2(n.srvLog, n.srvLog.debug(), false, false)
	n.srv = srv
	n.lost = newNotifier[func(string, string, string)]()
	ready := make(chan struct{})
	n.ended.Go(func() {
		srv.Start() // returns when all listeners are open and JetStream is up
		close(ready)
		srv.WaitForShutdown()
		close(n.down)
		n.closeConns("the node's server has stopped")
	})
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-ready:
	case <-ctx.Done():
		return fmt.Errorf("bus: start node: %w", context.Cause(ctx))
	case <-timer.C:
		return fmt.Errorf("bus: start node: no answer within %s", startTimeout)
	}
	if err := n.waitListening(ctx); err != nil {
		return err
	}
	if n.sys, err = nats.Connect("", nats.InProcessServer(inProcess{n}), nats.Name("toolbus system "+n.name),
		nats.UserInfo(creds.sysUser, creds.sysPass), nats.FlusherTimeout(writeTimeout),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			n.log.Debug("system connection", "node", n.name, "error", err)
		})); err != nil {
		return fmt.Errorf("bus: system connection: %w", err)
	}
	if err := n.watchEvents(); err != nil {
		return err
	}
	if n.peers != nil {
		n.peers.start()
	}
	return nil
}

// waitListening waits for the ports: that of the routes is opened after Start has returned.
func (n *Node) waitListening(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case msg := <-n.srvLog.fatal:
			if strings.Contains(msg, "address already in use") {
				return fmt.Errorf("%w: %s", ErrAddressInUse, msg)
			}
			return fmt.Errorf("bus: start node: %s", msg)
		default:
		}
		if addr, ok := n.srv.Addr().(*net.TCPAddr); ok {
			n.url = "nats://" + reachable(addr)
		}
		if n.cluster == nil {
			return nil
		}
		if addr := n.srv.ClusterAddr(); addr != nil {
			n.route = "nats-route://" + reachable(addr)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("bus: start node: %w", context.Cause(ctx))
		}
	}
}

// Name is the node's name.
func (n *Node) Name() string { return n.name }

// ID is the server's id, a new one at each start. Events name servers by it.
func (n *Node) ID() string {
	if n.srv == nil {
		return ""
	}
	return n.srv.ID()
}

// URL is where clients connect, "" for a node without a port. A node that listens everywhere names loopback.
func (n *Node) URL() string { return n.url }

// ClusterURL is where other nodes connect, "" for a node alone.
func (n *Node) ClusterURL() string { return n.route }

func reachable(addr *net.TCPAddr) string {
	host := addr.IP
	if host.IsUnspecified() {
		host = net.IPv4(127, 0, 0, 1)
	}
	return net.JoinHostPort(host.String(), fmt.Sprint(addr.Port))
}

// Server is the embedded server itself: the escape hatch. Shut the node down, not the server.
func (n *Node) Server() *server.Server { return n.srv }

// ElectionTimeout is the timing in force.
func (n *Node) ElectionTimeout() time.Duration { return n.election }

// Done is closed when the server has stopped, whoever stopped it.
func (n *Node) Done() <-chan struct{} { return n.down }

// Connect opens an in-process connection: no port, no credentials. It sees the events of the whole cluster (NotifyLost), and it is closed
// for good when the node stops, since there is no other server that it could go to. Errors: ErrClosed.
func (n *Node) Connect(ctx context.Context, opts *ConnectOptions) (*Conn, error) {
	return connectNode(ctx, n, opts)
}

func (n *Node) addConn(c *Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return false
	}
	n.conns[c] = struct{}{}
	return true
}

func (n *Node) dropConn(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// Shutdown stops the node in good order: clients are told to go elsewhere, Raft leaders hand over, then the server stops. It takes about
// a second where there are leaders to hand over or clients to move. Close the node's own connections first. When ctx ends the rest is
// done at once, as by Close, and the context's error is returned.
func (n *Node) Shutdown(ctx context.Context) error {
	if n.srv != nil && n.url != "" && n.srv.Running() {
		n.refuse()
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.srv.LameDuckShutdown() // a no-op for a server without a listener
		}()
		select {
		case <-done:
		case <-ctx.Done():
			err := n.Close() // ends LameDuckShutdown too
			<-done
			return errors.Join(context.Cause(ctx), err)
		}
	}
	return n.Close()
}

// Close stops the node at once: its connections are closed without drain, leaders still hand over if they can. It waits for all that the node
// started, gives the directory up and removes a temporary one. Closing twice is fine.
func (n *Node) Close() error {
	n.once.Do(func() {
		if n.srv != nil {
			n.closeConns("the node was closed")
			if n.peers != nil {
				n.peers.close()
			}
			if n.sys != nil {
				n.sys.Close()
			}
			n.srv.Shutdown()
			n.ended.Wait()
			n.lost.close()
		}
		if n.dir != nil {
			n.err = n.dir.close()
		}
	})
	return n.err
}
