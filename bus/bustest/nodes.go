package bustest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
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

// Nodes starts a cluster of n nodes, each in a process of its own, and waits until JetStream can be used on each. They are killed with the test.
func Nodes(t testing.TB, n int, opts ...NodesOption) []*NodeProcess {
	t.Helper()
	routes := make([]string, n)
	for i := range routes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		routes[i] = l.Addr().String()
		l.Close()
	}
	nodes := make([]*NodeProcess, n)
	for i := range nodes {
		args, err := json.Marshal(nodeArgs{Name: fmt.Sprintf("n%d", i+1), Dir: t.TempDir(), Listen: routes[i], Nodes: routes, Watch: slices.Contains(opts, WithWatcher)})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = &NodeProcess{Process: Child(t, "node", string(args))}
	}
	for _, node := range nodes {
		var up nodeUp
		node.JSON(&up)
		node.Name, node.ID, node.URL = up.Name, up.ID, up.URL
	}
	return nodes
}

type nodeArgs struct {
	Name, Dir, Listen string
	Nodes             []string
	Watch             bool
}

type nodeUp struct{ Name, ID, URL string }

var builtin = Children{"node": nodeChild}

func nodeChild(ctx context.Context, args []string, out io.Writer) error {
	var a nodeArgs
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
		return err
	}
	n, err := bus.StartNode(ctx, &bus.NodeOptions{
		Name: a.Name, Dir: a.Dir, Listen: "127.0.0.1:0",
		Cluster: &bus.ClusterOptions{Listen: a.Listen, Nodes: a.Nodes, Secret: "test"},
	})
	if err != nil {
		return err
	}
	defer n.Close()
	ready, cancel := context.WithTimeout(ctx, Deadline-10*time.Second) // before the test gives up: its error says more
	defer cancel()
	if err := n.WaitReady(ready); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	if err := enc.Encode(nodeUp{n.Name(), n.ID(), n.URL()}); err != nil {
		return err
	}
	if a.Watch {
		c, err := n.Connect(ctx, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		c.NotifyLost(func(server, client, reason string) {
			_ = enc.Encode(Lost{server, client, reason, time.Now()}) // a test that is gone reads nothing
		})
	}
	<-n.Done()
	return nil
}
