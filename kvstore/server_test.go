package kvstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/toolbus/toolbus/kvstore"
)

// Real servers for the tests of this package: one alone and a cluster of three, started when the first test asks and
// stopped when the last has run. A test that harms its servers starts its own.

var shared struct {
	one, three sync.Once
	node       *server.Server
	cluster    *cluster
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.node != nil {
		stopServer(shared.node)
	}
	if shared.cluster != nil {
		shared.cluster.stop()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// options are a server's that is as durable as an embedded node's.
func options(name, dir string) *server.Options {
	return &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
	}
}

func startServer(o *server.Options) (*server.Server, error) {
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("%s: not ready", o.ServerName)
	}
	return s, nil
}

func stopServer(s *server.Server) {
	dir := s.StoreDir() // the folder that the server made in ours
	s.Shutdown()
	s.WaitForShutdown()
	if dir != "" {
		_ = os.RemoveAll(filepath.Dir(dir))
	}
}

// oneNode is the shared server that stands alone.
func oneNode(t testing.TB) *server.Server {
	t.Helper()
	shared.one.Do(func() {
		dir, err := os.MkdirTemp("", "kvstore-one-")
		if err != nil {
			t.Fatal(err)
		}
		s, err := startServer(options("one", dir))
		if err != nil {
			t.Fatal(err)
		}
		shared.node = s
	})
	if shared.node == nil {
		t.Fatal("no server")
	}
	return shared.node
}

// cluster is three servers in this process.
type cluster struct {
	opts    []*server.Options
	servers []*server.Server
}

// threeNodes is the shared cluster.
func threeNodes(t testing.TB) *cluster {
	t.Helper()
	shared.three.Do(func() {
		c, err := startCluster("shared")
		if err != nil {
			t.Fatal(err)
		}
		shared.cluster = c
	})
	if shared.cluster == nil {
		t.Fatal("no cluster")
	}
	return shared.cluster
}

// ownCluster is a cluster that its test may harm.
func ownCluster(t testing.TB) *cluster {
	t.Helper()
	c, err := startCluster("own")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

func startCluster(name string) (*cluster, error) {
	c := &cluster{}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	routes := ""
	for i, port := range ports {
		if i > 0 {
			routes += ","
		}
		routes += fmt.Sprintf("nats://127.0.0.1:%d", port)
	}
	for i, port := range ports {
		dir, err := os.MkdirTemp("", "kvstore-three-")
		if err != nil {
			return nil, err
		}
		o := options(fmt.Sprintf("%s-%d", name, i), dir)
		o.Cluster = server.ClusterOpts{Name: name, Host: "127.0.0.1", Port: port}
		o.Routes = server.RoutesFromStr(routes)
		c.opts = append(c.opts, o)
		s, err := startServer(o.Clone())
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	return c, c.ready()
}

// ready waits until the cluster can place a stream.
func (c *cluster) ready() error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, s := range c.servers {
			if s.Running() && s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 3 {
				return nil
			}
		}
	}
	return fmt.Errorf("the cluster has no leader")
}

func (c *cluster) stop() {
	for _, s := range c.servers {
		stopServer(s)
	}
	for _, o := range c.opts { // also of those that a test has stopped
		_ = os.RemoveAll(o.StoreDir)
	}
}

// leader is the server that leads a stream, or nil.
func (c *cluster) leader(stream string) *server.Server {
	for _, s := range c.servers {
		if s.Running() && s.GlobalAccount() != nil && s.JetStreamIsStreamLeader(s.GlobalAccount().Name, stream) {
			return s
		}
	}
	return nil
}

// other is a running server that is not s.
func (c *cluster) other(s *server.Server) *server.Server {
	for _, o := range c.servers {
		if o != s && o.Running() {
			return o
		}
	}
	return nil
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// dial connects to one server, as toolbus does: without a reconnect buffer.
func dial(t testing.TB, s *server.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...)
	nc, err := nats.Connect(s.ClientURL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// scopeOf is a scope of the test's own.
func scopeOf(t testing.TB) string {
	scopes.Lock()
	defer scopes.Unlock()
	scopes.n++
	return fmt.Sprintf("t%d", scopes.n)
}

var scopes struct {
	sync.Mutex
	n int
}

func openOn(t testing.TB, nc *nats.Conn, scope string, opts *kvstore.JetStreamOptions) *kvstore.JetStream {
	t.Helper()
	s, err := kvstore.OpenJetStream(t.Context(), nc, scope, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
