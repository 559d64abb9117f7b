package bus_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

func TestClusterReady(t *testing.T) {
	start := time.Now()
	c := bustest.NewCluster(t, 3)
	t.Logf("three nodes ready in %s", time.Since(start).Round(time.Millisecond))
	for i, n := range c.Nodes() {
		if n.URL() == "" || !strings.HasPrefix(n.ClusterURL(), "nats-route://127.0.0.1:") {
			t.Errorf("node %d: URL %q, cluster URL %q", i, n.URL(), n.ClusterURL())
		}
	}
	if _, err := bus.StartCluster(t.Context(), 1, nil); !errors.Is(err, bus.ErrBadOptions) {
		t.Errorf("a cluster of one: %v", err)
	}
}

// TestClusterNamesMissing: the error of WaitReady says who is not there.
func TestClusterNamesMissing(t *testing.T) {
	addrs := free(t, 3)
	n := startIn(t, "n1", addrs[0], addrs, "secret")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := n.WaitReady(ctx)
	var not *bus.NotReadyError
	if !errors.Is(err, bus.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &not) {
		t.Fatalf("WaitReady: %v", err)
	}
	if len(not.Missing) != 2 || not.Missing[0] != addrs[1] || not.Missing[1] != addrs[2] || not.Node != "n1" {
		t.Errorf("missing %v on %s, want %v", not.Missing, not.Node, addrs[1:])
	}
	// The very first start takes all three; after that two will do.
	m := startIn(t, "n2", addrs[1], addrs, "secret")
	bustest.Eventually(t, "only the third is missing", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := n.WaitReady(ctx); !errors.As(err, &not) {
			t.Fatalf("two of three at the first start: %v", err)
		}
		return len(not.Missing) == 1 && not.Missing[0] == addrs[2]
	})
	third := startIn(t, "n3", addrs[2], addrs, "secret")
	for _, node := range []*bus.Node{n, m, third} {
		if err := node.WaitReady(bustest.Context(t)); err != nil {
			t.Errorf("three of three: %v", err)
		}
	}
	third.Close()
	bustest.Eventually(t, "two see each other and no third", func() bool { return n.Server().NumRemotes() == 1 && m.Server().NumRemotes() == 1 })
	for _, node := range []*bus.Node{n, m} {
		if err := node.WaitReady(bustest.Context(t)); err != nil {
			t.Errorf("two of three later: %v", err)
		}
	}
	n.Close()
	if err := n.WaitReady(bustest.Context(t)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("a closed node: %v", err)
	}
}

// TestClusterSecret: who does not know it stays outside, and is told that a node refused it.
func TestClusterSecret(t *testing.T) {
	addrs := free(t, 3)
	n := startIn(t, "n1", addrs[0], addrs, "right")
	m := startIn(t, "n2", addrs[1], addrs, "right")
	bustest.Eventually(t, "the two who know it have met", func() bool { return n.Server().NumRemotes() == 1 && m.Server().NumRemotes() == 1 })
	stranger := startIn(t, "n3", addrs[2], addrs, "wrong")
	var not *bus.NotReadyError
	bustest.Eventually(t, "the refusal is named", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := stranger.WaitReady(ctx)
		if !errors.As(err, &not) {
			t.Fatalf("a stranger's WaitReady: %v", err)
		}
		return not.Hint != ""
	})
	t.Log(not)
	if len(not.Missing) != 2 || !strings.Contains(strings.ToLower(not.Hint), "auth") {
		t.Errorf("missing %v, hint %q", not.Missing, not.Hint)
	}
	if k := n.Server().NumRemotes() + m.Server().NumRemotes(); k != 2 {
		t.Errorf("the two who know the secret have %d routes to others", k)
	}
}

// TestClusterElectionDiffers: a node with another election timeout is refused by WaitReady.
func TestClusterElectionDiffers(t *testing.T) {
	addrs := free(t, 3)
	n := startIn(t, "n1", addrs[0], addrs, "test")
	p := bustest.Child(t, "slow-node", t.TempDir(), addrs[1], addrs[0], addrs[2])
	line := p.Line()
	for _, want := range []string{"refused", "5s", "1.2s", `"n1"`} {
		if !strings.Contains(line, want) {
			t.Errorf("%q lacks %q", line, want)
		}
	}
	// Here the other is refused as well, as long as it is there; it has left, or will.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := n.WaitReady(ctx); err == nil {
		t.Error("a cluster of one of three is ready")
	}
}

func TestClusterOptions(t *testing.T) {
	good := func() (string, bus.ClusterOptions) {
		return "n1", bus.ClusterOptions{Listen: "127.0.0.1:7001", Nodes: []string{"127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"}, Secret: "s"}
	}
	for what, change := range map[string]func(name *string, o *bus.ClusterOptions){
		"no name":              func(name *string, _ *bus.ClusterOptions) { *name = "" },
		"no secret":            func(_ *string, o *bus.ClusterOptions) { o.Secret = "" },
		"no nodes":             func(_ *string, o *bus.ClusterOptions) { o.Nodes = nil },
		"one node":             func(_ *string, o *bus.ClusterOptions) { o.Nodes = o.Nodes[:1] },
		"twice":                func(_ *string, o *bus.ClusterOptions) { o.Nodes[2] = o.Nodes[1] },
		"not HOST:PORT":        func(_ *string, o *bus.ClusterOptions) { o.Nodes[2] = "somewhere" },
		"port 0":               func(_ *string, o *bus.ClusterOptions) { o.Nodes[2] = "127.0.0.1:0" },
		"itself not listed":    func(_ *string, o *bus.ClusterOptions) { o.Listen = "127.0.0.1:7009" },
		"advertise not listed": func(_ *string, o *bus.ClusterOptions) { o.Advertise = "10.0.0.1:7001" },
		"no listen":            func(_ *string, o *bus.ClusterOptions) { o.Listen = "" },
		"white space":          func(_ *string, o *bus.ClusterOptions) { o.Name = "a b" },
	} {
		name, o := good()
		change(&name, &o)
		n, err := bus.StartNode(t.Context(), &bus.NodeOptions{Name: name, Cluster: &o})
		if !errors.Is(err, bus.ErrBadOptions) {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			n.Close()
		}
	}
}

// TestClusterSelf: a node that listens everywhere, or is listed by a host name, finds itself in the list.
func TestClusterSelf(t *testing.T) {
	addrs := free(t, 2)
	_, port, _ := net.SplitHostPort(addrs[0])
	nodes := []string{"localhost:" + port, addrs[1]}
	n := startIn(t, "n1", "0.0.0.0:"+port, nodes, "s")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var not *bus.NotReadyError
	if err := n.WaitReady(ctx); !errors.As(err, &not) || len(not.Missing) != 1 || not.Missing[0] != addrs[1] {
		t.Errorf("missing %v", not)
	}
	if want := "nats-route://127.0.0.1:" + port; n.ClusterURL() != want {
		t.Errorf("cluster URL %q, want %q", n.ClusterURL(), want)
	}
}

func startIn(t *testing.T, name, listen string, nodes []string, secret string) *bus.Node {
	t.Helper()
	return bustest.Node(t, &bus.NodeOptions{Name: name, Cluster: &bus.ClusterOptions{Listen: listen, Nodes: nodes, Secret: secret}})
}

func free(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}
