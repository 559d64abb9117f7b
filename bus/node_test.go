package bus_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

var children = bustest.Children{"slow-node": slowNode, "client": client, "lone-node": loneNode}

// loneNode is a child: a node alone in a directory, until it is killed.
func loneNode(ctx context.Context, args []string, out io.Writer) error {
	n, err := bus.StartNode(ctx, &bus.NodeOptions{Dir: args[0], Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer n.Close()
	if err := json.NewEncoder(out).Encode(n.URL()); err != nil {
		return err
	}
	<-n.Done()
	return nil
}

// TestNodeAlone: no options, no port; JetStream works over the in-process connection, and nothing is left.
func TestNodeAlone(t *testing.T) {
	start := time.Now()
	n, err := bus.StartNode(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := bustest.Connect(t, n)
	t.Logf("a node and a connection in %s", time.Since(start).Round(100*time.Microsecond))
	if n.URL() != "" || n.ClusterURL() != "" || n.Name() == "" || n.ID() == "" {
		t.Errorf("URL %q, cluster URL %q, name %q, id %q", n.URL(), n.ClusterURL(), n.Name(), n.ID())
	}
	js, err := jetstream.New(c.NATS())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.1", nil); err != nil {
		t.Fatal(err)
	}
	store := n.Server().JetStreamConfig().StoreDir
	if cfg := n.Server().JetStreamConfig(); !cfg.SyncAlways {
		t.Error("JetStream does not sync each write")
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(store))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary directory above %s is still there: %v", store, err)
	}
	if err := n.WaitReady(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("WaitReady of a closed node: %v", err)
	}
}

// TestNodeAccounts: clients need no credentials and have JetStream; the system account is closed to them, whatever they say.
func TestNodeAccounts(t *testing.T) {
	n := bustest.Node(t, &bus.NodeOptions{Listen: "127.0.0.1:0"})
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(t.Context()); err != nil {
		t.Errorf("JetStream without credentials: %v", err)
	}
	// A client that is strict about it looks at the first INFO.
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if info, err := bufio.NewReader(conn).ReadString('\n'); err != nil || strings.Contains(info, `"auth_required":true`) {
		t.Errorf("the server says that credentials are required: %s, %v", info, err)
	}
	if _, err := nc.Request("$SYS.REQ.SERVER."+n.ID()+".KICK", []byte(`{"cid":1}`), time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a client can ask the system account: %v", err)
	}
	for _, user := range []string{"toolbus-system", "toolbus", "sys", "admin"} {
		if nc, err := nats.Connect(n.URL(), nats.UserInfo(user, user)); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("user %q: %v", user, err)
			nc.Close()
		}
	}
}

func TestNodeListens(t *testing.T) {
	n := bustest.Node(t, &bus.NodeOptions{Listen: ":0"})
	if !strings.HasPrefix(n.URL(), "nats://127.0.0.1:") {
		t.Errorf("no host means loopback, not %s", n.URL())
	}
	addr := strings.TrimPrefix(n.URL(), "nats://")
	start := time.Now()
	_, err := bus.StartNode(t.Context(), &bus.NodeOptions{Listen: addr})
	if !errors.Is(err, bus.ErrAddressInUse) || !strings.Contains(err.Error(), addr[strings.LastIndex(addr, ":")+1:]) {
		t.Errorf("a port in use: %v", err)
	}
	if took := time.Since(start); took > bustest.Deadline/2 {
		t.Errorf("that took %s to say", took)
	}
	for _, listen := range []string{"nonsense", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000"} {
		if _, err := bus.StartNode(t.Context(), &bus.NodeOptions{Listen: listen}); !errors.Is(err, bus.ErrBadOptions) {
			t.Errorf("listen on %q: %v", listen, err)
		}
	}
	if _, err := bus.StartNode(t.Context(), &bus.NodeOptions{Name: "two words"}); !errors.Is(err, bus.ErrBadOptions) {
		t.Errorf("a name with a space: %v", err)
	}
}

// TestNodeDir: a directory is used by one node at a time, and only by the kind of node that made it.
func TestNodeDir(t *testing.T) {
	alone := t.TempDir()
	n, err := bus.StartNode(t.Context(), &bus.NodeOptions{Name: "a", Dir: alone})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.StartNode(t.Context(), &bus.NodeOptions{Dir: alone}); !errors.Is(err, bus.ErrDirInUse) || !strings.Contains(err.Error(), alone) {
		t.Errorf("a second node in one directory: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n, err = bus.StartNode(t.Context(), &bus.NodeOptions{Name: "b", Dir: alone})
	if err != nil {
		t.Fatalf("a node alone under another name: %v", err)
	}
	n.Close()

	join := func(name, cluster, dir string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		n, err := bus.StartNode(t.Context(), &bus.NodeOptions{Name: name, Dir: dir, Cluster: &bus.ClusterOptions{
			Name: cluster, Listen: l.Addr().String(), Nodes: []string{l.Addr().String(), "127.0.0.1:1"}, Secret: "s"}})
		if err == nil {
			n.Close()
		}
		return err
	}
	clustered := t.TempDir()
	if err := join("a", "c", clustered); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what         string
		err          error
		made, wanted string
	}{
		{"alone, then in a cluster", join("a", "c", alone), "a node alone", `node "a" of cluster "c"`},
		{"in a cluster, then alone", start(t, clustered), `node "a" of cluster "c"`, "a node alone"},
		{"another node", join("b", "c", clustered), `node "a" of cluster "c"`, `node "b" of cluster "c"`},
		{"another cluster", join("a", "d", clustered), `node "a" of cluster "c"`, `node "a" of cluster "d"`},
	} {
		var wrong *bus.DirError
		if !errors.Is(test.err, bus.ErrWrongDir) || !errors.As(test.err, &wrong) || wrong.Made != test.made || wrong.Wanted != test.wanted {
			t.Errorf("%s: %v", test.what, test.err)
		}
	}
	if err := join("a", "c", clustered); err != nil {
		t.Errorf("the same node again: %v", err)
	}
	if err := os.WriteFile(filepath.Join(alone, "toolbus.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(t, alone); err == nil || errors.Is(err, bus.ErrWrongDir) {
		t.Errorf("a broken marker: %v", err)
	}
}

func start(t *testing.T, dir string) error {
	n, err := bus.StartNode(t.Context(), &bus.NodeOptions{Dir: dir})
	if err == nil {
		n.Close()
	}
	return err
}

// TestNodeKilled: what was acknowledged is there after kill -9, and the directory is free at once.
func TestNodeKilled(t *testing.T) {
	dir := t.TempDir()
	p := bustest.Child(t, "lone-node", dir)
	var url string
	p.JSON(&url)
	js, err := jetstream.New(bustest.Dial(t, url, nil).NATS())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	const keys = 50
	for i := range keys {
		if _, err := kv.Create(t.Context(), fmt.Sprint("k", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bus.StartNode(t.Context(), &bus.NodeOptions{Dir: dir}); !errors.Is(err, bus.ErrDirInUse) {
		t.Errorf("the directory of another process: %v", err)
	}
	p.Kill()
	n := bustest.Node(t, &bus.NodeOptions{Dir: dir})
	if js, err = jetstream.New(bustest.Connect(t, n).NATS()); err != nil {
		t.Fatal(err)
	}
	if kv, err = js.KeyValue(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if all, err := kv.Keys(t.Context()); err != nil || len(all) != keys {
		t.Errorf("%d of %d keys after kill -9, %v", len(all), keys, err)
	}
}

// TestNodeShutdown: clients are told to move and do, the node's directory is free afterwards, and a context that ends cuts it short.
func TestNodeShutdown(t *testing.T) {
	c := bustest.NewCluster(t, 3)
	d := bustest.Dial(t, c.Node(0).URL(), nil)
	next := links(t, d)
	next(true)
	if err := c.Stop(bustest.Context(t), 0); err != nil {
		t.Fatal(err)
	}
	next(false)
	next(true)
	if s, _, _ := d.Link(); s == c.Node(0).ID() || s == "" {
		t.Errorf("connected to %q", s)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Stop(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown with a context that has ended: %v", err)
	}
	select {
	case <-c.Node(1).Done():
	default:
		t.Error("the server still runs")
	}
}

// TestStartNodeContext: a context that ends leaves no server behind (goleak would tell).
func TestStartNodeContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := bus.StartNode(ctx, &bus.NodeOptions{Dir: dir}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("StartNode: %v", err)
	}
	bustest.Node(t, &bus.NodeOptions{Dir: dir})
}
