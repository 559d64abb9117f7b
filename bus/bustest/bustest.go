// Package bustest starts real NATS servers for tests: nodes and clusters in this process, a stock server, and child processes that can be
// killed for real.
//
// A test package starts with
//
//	func TestMain(m *testing.M) { bustest.Main(m, nil) }
//
// which checks for leaked goroutines at the end, and opens the door to virtual time: see Bubble.
package bustest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"

	"github.com/toolbus/toolbus/bus"
)

// Deadline bounds every wait of this package: long, since the machine may be busy; no test is to take it.
const Deadline = 60 * time.Second

// Main runs the tests of a package, or, in a child process that Child has started, the child's function instead. It exits.
func Main(m *testing.M, children Children) {
	runChild(children)
	// nats-server keeps one goroutine for the time of day, which every file store shares. Started here, outside of any bubble, it is what
	// lets a server with JetStream run inside one: TestBubble fails if that ceases to be so.
	ats.Register()
	ignore := goleak.IgnoreCurrent()
	code := m.Run()
	closeShared()
	if code == 0 {
		if err := goleak.Find(ignore); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines leaked:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Context ends with the test or after Deadline.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Deadline)
	t.Cleanup(cancel)
	return ctx
}

// Node starts a node alone, without a port, and closes it with the test. opts may be nil.
func Node(t testing.TB, opts *bus.NodeOptions) *bus.Node {
	t.Helper()
	var o bus.NodeOptions
	if opts != nil {
		o = *opts
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	n, err := bus.StartNode(Context(t), &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close node: %v", err)
		}
	})
	return n
}

// Connect opens an in-process connection to n and closes it with the test.
func Connect(t testing.TB, n *bus.Node) *bus.Conn {
	t.Helper()
	c, err := n.Connect(Context(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Dial connects by URL and closes the connection with the test. opts may be nil.
func Dial(t testing.TB, url string, opts *bus.ConnectOptions) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(Context(t), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var shared struct {
	sync.Mutex
	clusters map[int]*bus.Cluster
}

// Cluster is a cluster of n nodes in this process that all tests of the package share: started once, closed by Main. Do not kill its
// nodes; scopes, streams and subjects of different tests must differ.
func Cluster(t testing.TB, n int) *bus.Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if c := shared.clusters[n]; c != nil {
		return c
	}
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	c, err := bus.StartCluster(ctx, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	if shared.clusters == nil {
		shared.clusters = map[int]*bus.Cluster{}
	}
	shared.clusters[n] = c
	return c
}

// NewCluster is a cluster of the test's own, to be killed at will.
func NewCluster(t testing.TB, n int) *bus.Cluster {
	t.Helper()
	c, err := bus.StartCluster(Context(t), n, &bus.LocalOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	return c
}

func closeShared() {
	shared.Lock()
	defer shared.Unlock()
	for _, c := range shared.clusters {
		if err := c.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close shared cluster:", err)
		}
	}
	shared.clusters = nil
}

// Bubble runs fn in a synctest bubble with a node of its own: JetStream, in-process connections, virtual time. A minute of leases takes
// milliseconds. Everything that fn starts must end before it returns; the node is closed for it. Child processes, ports and the shared
// clusters are out of reach. Not for parallel tests: see dropPools.
func Bubble(t *testing.T, fn func(t *testing.T, n *bus.Node)) {
	t.Helper()
	dropPools()
	defer dropPools()
	synctest.Test(t, func(t *testing.T) {
		n, err := bus.StartNode(t.Context(), &bus.NodeOptions{Name: "bubble", Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := n.Close(); err != nil {
				t.Errorf("close node: %v", err)
			}
		}()
		fn(t, n)
	})
}

// dropPools empties every sync.Pool: two collections do. nats.go keeps timers in one, and a timer that was made in a bubble and is used outside
// ends the process ("reset of synctest timer from outside bubble"); one that was made outside runs on real time in the bubble.
func dropPools() {
	runtime.GC()
	runtime.GC()
}

// Plain starts a stock nats-server with JetStream in this process, as a user would run it: its own defaults, no accounts of ours, a free
// port. Its system account is not open to us. The URL is srv.ClientURL().
func Plain(t testing.TB) *server.Server {
	t.Helper()
	srv, err := StartPlain(t.TempDir(), server.RANDOM_PORT)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

// StartPlain is Plain with a store and port of the caller's choice, to be shut down and started again by the test.
func StartPlain(dir string, port int) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, err
	}
	go srv.Start()
	if !srv.ReadyForConnections(Deadline) {
		srv.Shutdown()
		return nil, fmt.Errorf("bustest: plain server is not ready on port %d", port)
	}
	return srv, nil
}

// Eventually polls until ok returns true, and fails the test after Deadline. It is the only wait for something that has no channel.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Deadline)
	for pause := time.Millisecond; !ok(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Deadline, what)
		}
		time.Sleep(pause)
	}
}
