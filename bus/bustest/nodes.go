package bustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
)

// NodeProcess is a node in a process of its own.
type NodeProcess struct {
	*Process
	Name string // n1, n2, ...
	ID   string // the server's id, as events name it
	URL  string // for clients
}

// NodesOption changes what Nodes starts.
type NodesOption int

// WithWatcher makes each node print a Lost in JSON, one a line, for each event that NotifyLost tells there.
const WithWatcher NodesOption = 1

// Lost is what NotifyLost told in a node's process, and when.
type Lost struct {
	Server, Client, Reason string
	At                     time.Time
}

// Nodes starts a cluster of n nodes, each in a process of its own, and waits until JetStream can be used on each. They are killed with
// the test.
func Nodes(t testing.TB, n int, opts ...NodesOption) []*NodeProcess {
	t.Helper()
	for range 5 {
		if nodes := startNodes(t, n, opts); nodes != nil {
			return nodes
		}
	}
	t.Fatal("no free ports for a cluster")
	return nil
}

// startNodes returns nil when another process took one of the ports between the choice and the start.
func startNodes(t testing.TB, n int, opts []NodesOption) []*NodeProcess {
	t.Helper()
	routes := FreeAddrs(t, n)
	nodes := make([]*NodeProcess, n)
	for i := range nodes {
		args, err := json.Marshal(nodeArgs{
			Name: fmt.Sprintf("n%d", i+1), Dir: t.TempDir(), Listen: routes[i], Nodes: routes, Watch: slices.Contains(opts, WithWatcher),
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = &NodeProcess{Process: Child(t, "node", string(args))}
	}
	for _, node := range nodes {
		var up nodeUp
		if node.JSON(&up); up.AddressInUse {
			for _, node := range nodes {
				node.Kill()
			}
			return nil
		}
		node.Name, node.ID, node.URL = up.Name, up.ID, up.URL
	}
	for _, node := range nodes {
		if line := node.Line(); line != "ready" {
			t.Fatalf("node %s printed %q", node.Name, line)
		}
	}
	return nodes
}

// FreeAddrs is bus.FreeAddrs for tests.
func FreeAddrs(t testing.TB, n int) []string {
	t.Helper()
	addrs, err := bus.FreeAddrs(n)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

type nodeArgs struct {
	Name, Dir, Listen string
	Nodes             []string
	Watch             bool
}

type nodeUp struct {
	Name, ID, URL string
	AddressInUse  bool
}

var builtin = Children{"node": nodeChild}

// nodeChild prints a nodeUp when the node listens, "ready" when JetStream can be used, and then, if asked to, what is lost.
func nodeChild(ctx context.Context, args []string, out io.Writer) error {
	var a nodeArgs
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	n, err := bus.StartNode(ctx, &bus.NodeOptions{
		Name: a.Name, Dir: a.Dir, Listen: "127.0.0.1:0",
		Cluster: &bus.ClusterOptions{Listen: a.Listen, Nodes: a.Nodes, Secret: "test"},
	})
	if errors.Is(err, bus.ErrAddressInUse) {
		return enc.Encode(nodeUp{AddressInUse: true})
	}
	if err != nil {
		return err
	}
	defer n.Close()
	if err := enc.Encode(nodeUp{Name: n.Name(), ID: n.ID(), URL: n.URL()}); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, Deadline-10*time.Second) // before the test gives up: its error says more
	defer cancel()
	if err := n.WaitReady(ready); err != nil {
		return err
	}
	watching := make(chan struct{})
	if a.Watch {
		c, err := n.Connect(ctx, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		c.NotifyLost(func(server, client, reason string) {
			<-watching                                               // the line "ready" comes first
			_ = enc.Encode(Lost{server, client, reason, time.Now()}) // a test that is gone reads nothing
		})
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	close(watching)
	<-n.Done()
	return nil
}
