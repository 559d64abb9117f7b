package servers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// hostArgs start a process that serves a calculator: on a node of its own, which may keep the scope, or over a connection to one.
type hostArgs struct {
	Name string // of the server

	URL string // of the node to connect to; "": a node of its own, with these:

	Node, Dir, Listen string
	Nodes             []string
}

// hostUp is what such a process prints when it serves, and again after each "again" that it reads. "go" ends the tool wait.
type hostUp struct {
	Node, ID, URL             string
	Instance, Session, Server string
	Token                     kvstore.Revision
	Serving                   bool
}

func hostChild(ctx context.Context, args []string, out io.Writer) error {
	var a hostArgs
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
		return err
	}
	opening, cancel := context.WithTimeout(ctx, bustest.Deadline)
	defer cancel()
	var up hostUp
	var conn *bus.Conn
	role := registry.Never
	if a.URL != "" {
		var err error
		if conn, err = bus.Connect(opening, a.URL, nil); err != nil {
			return err
		}
	} else {
		n, err := bus.StartNode(opening, &bus.NodeOptions{
			Name: a.Node, Dir: a.Dir, Listen: "127.0.0.1:0",
			Cluster: &bus.ClusterOptions{Listen: a.Listen, Nodes: a.Nodes, Secret: "test"},
		})
		if err != nil {
			return err
		}
		if err := n.WaitReady(opening); err != nil {
			return err
		}
		if conn, err = n.Connect(opening, nil); err != nil {
			return err
		}
		up.Node, up.ID, up.URL, role = n.Name(), n.ID(), n.URL(), registry.Node
	}
	reg, err := openRegistry(opening, conn, a.Node, role)
	if err != nil {
		return err
	}
	server := calculator(a.Name)
	released := make(chan struct{})
	mcp.AddTool(server, &mcp.Tool{Name: "wait"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		if err := hangs(ctx, req); err != nil {
			return nil, nil, err
		}
		<-released
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "waited"}}}, nil, nil
	})
	serving, err := servers.NewHost(conn, reg, nil).Serve(opening, a.Name, server, nil)
	if err != nil {
		return err
	}
	say := func() error {
		record := serving.Record()
		up.Instance, up.Session, up.Token, up.Serving = record.Instance, record.Session, record.Token, serving.Serving()
		up.Server, _, _ = conn.Link()
		return json.NewEncoder(out).Encode(up)
	}
	if err := say(); err != nil {
		return err
	}
	for line := range bustest.Input() {
		switch line {
		case "go":
			close(released)
		case "again":
			if err := say(); err != nil {
				return err
			}
		}
	}
	return nil
}

// openRegistry opens a registry with the timing of a cluster of nodes.
func openRegistry(ctx context.Context, conn *bus.Conn, node string, role registry.Role) (*registry.Registry, error) {
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), "default", &kvstore.JetStreamOptions{Metadata: map[string]string{registry.MetadataTTL: "6s"}})
	if err != nil {
		return nil, err
	}
	return registry.Open(ctx, store, &registry.Options{Peers: conn, Node: node, Role: role})
}

// hostProcess is a process with a server.
type hostProcess struct {
	*bustest.Process
	up hostUp
}

func startHost(t *testing.T, a hostArgs) *hostProcess {
	t.Helper()
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return &hostProcess{Process: bustest.Child(t, "host", string(data))}
}

// startHostOn starts a process with a server that is connected to a node, and waits until it serves.
func startHostOn(t *testing.T, name string, node *hostProcess) *hostProcess {
	t.Helper()
	p := startHost(t, hostArgs{Name: name, URL: node.up.URL})
	p.JSON(&p.up)
	return p
}

// startNodes starts a cluster of three processes, each a node with a server on-n1, on-n2, on-n3.
func startNodes(t *testing.T) []*hostProcess {
	t.Helper()
	routes := bustest.FreeAddrs(t, 3)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	var nodes []*hostProcess
	for i, route := range routes {
		name := fmt.Sprintf("n%d", i+1)
		nodes = append(nodes, startHost(t, hostArgs{Name: "on-" + name, Node: name, Dir: dirs[i], Listen: route, Nodes: routes}))
	}
	for _, n := range nodes {
		n.JSON(&n.up)
	}
	return nodes
}

// observe is a process of the scope that is connected to a node and serves nothing.
func observe(t *testing.T, node *hostProcess) process {
	t.Helper()
	p := process{conn: bustest.Dial(t, node.up.URL, nil)}
	var err error
	if p.reg, err = openRegistry(bustest.Context(t), p.conn, "observer", registry.Never); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.reg.Close(context.Background()) })
	if err := p.reg.WaitSynced(bustest.Context(t)); err != nil {
		t.Fatal(err)
	}
	return p
}
