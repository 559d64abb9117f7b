package registry_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

var _ registry.Peers = (*bus.Conn)(nil)

func TestMain(m *testing.M) {
	bustest.Main(m, bustest.Children{"keeper": keeperChild, "owner": ownerChild})
}

// openRegistry opens a registry on a connection.
func openRegistry(ctx context.Context, conn *bus.Conn, scope string, ttl time.Duration, opts registry.Options) (*registry.Registry, error) {
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), scope, &kvstore.JetStreamOptions{
		Metadata: map[string]string{registry.MetadataTTL: ttl.String()},
	})
	if err != nil {
		return nil, err
	}
	opts.Scope, opts.Peers = scope, conn
	return registry.Open(ctx, store, &opts)
}

// keeperArgs start a node with a registry that may keep the scope, and that owns names itself.
type keeperArgs struct {
	Name, Dir, Listen string
	Nodes             []string
	Scope             string
	TTL               time.Duration
	Names             []string
}

// keeperUp is what a keeper or an owner prints when it is ready, and again after each "again" that it reads.
type keeperUp struct {
	Name, ID, URL, Session string
	Token                  kvstore.Revision
	Serving                bool
	Server                 string
	AddressInUse           bool // another process took the port between the choice and the start
}

func keeperChild(ctx context.Context, args []string, out io.Writer) error {
	var a keeperArgs
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bustest.Deadline)
	defer cancel()
	n, err := bus.StartNode(ctx, &bus.NodeOptions{
		Name: a.Name, Dir: a.Dir, Listen: "127.0.0.1:0",
		Cluster: &bus.ClusterOptions{Listen: a.Listen, Nodes: a.Nodes, Secret: "test"},
	})
	if errors.Is(err, bus.ErrAddressInUse) {
		return json.NewEncoder(out).Encode(keeperUp{AddressInUse: true})
	}
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.WaitReady(ctx); err != nil {
		return err
	}
	conn, err := n.Connect(ctx, nil)
	if err != nil {
		return err
	}
	reg, err := openRegistry(ctx, conn, a.Scope, a.TTL, registry.Options{Node: a.Name, Role: registry.Node, Logger: childLog()})
	if err != nil {
		return err
	}
	up, _, err := claim(ctx, reg, conn, a.Names)
	if err != nil {
		return err
	}
	up.Name, up.ID, up.URL = n.Name(), n.ID(), n.URL()
	if err := json.NewEncoder(out).Encode(up); err != nil {
		return err
	}
	<-n.Done()
	return nil
}

// ownerArgs start a process that owns names over a plain connection.
type ownerArgs struct {
	URL   string
	Node  string
	Scope string
	TTL   time.Duration
	Role  registry.Role
	Names []string
}

func ownerChild(ctx context.Context, args []string, out io.Writer) error {
	var a ownerArgs
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, a.URL, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	reg, err := openRegistry(ctx, conn, a.Scope, a.TTL, registry.Options{Node: cmp.Or(a.Node, "owner"), Role: a.Role, Logger: childLog()})
	if err != nil {
		return err
	}
	opening, cancel := context.WithTimeout(ctx, bustest.Deadline)
	defer cancel()
	up, held, err := claim(opening, reg, conn, a.Names)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(up); err != nil {
		return err
	}
	for line := range bustest.Input() {
		if line != "again" || held == nil {
			continue
		}
		up.Serving, up.Token = held.Serving(), held.Token()
		up.Server, _, _ = conn.Link()
		if err := json.NewEncoder(out).Encode(up); err != nil {
			return err
		}
	}
	return nil
}

// claim opens a session and registers names on it.
func claim(ctx context.Context, reg *registry.Registry, conn *bus.Conn, names []string) (up keeperUp, held *registry.Registration, err error) {
	up.Server, _, _ = conn.Link()
	if len(names) == 0 {
		return up, nil, nil
	}
	s, err := reg.NewSession(ctx, nil)
	if err != nil {
		return up, nil, err
	}
	up.Session = s.ID()
	for _, name := range names {
		if held, err = s.Register(ctx, name, &registry.RegisterOptions{Groups: []string{"tools"}}); err != nil {
			return up, nil, err
		}
		up.Token, up.Serving = held.Token(), held.Serving()
	}
	return up, held, nil
}

// startKeepers starts a cluster of three processes, each a node with a registry.
func startKeepers(t *testing.T, scope string, ttl time.Duration, names func(i int) []string) []*keeper {
	t.Helper()
	for range 5 {
		if out := tryKeepers(t, scope, ttl, names); out != nil {
			return out
		}
	}
	t.Fatal("no free ports for a cluster")
	return nil
}

func tryKeepers(t *testing.T, scope string, ttl time.Duration, names func(i int) []string) []*keeper {
	t.Helper()
	routes := bustest.FreeAddrs(t, 3)
	out := make([]*keeper, len(routes))
	for i, route := range routes {
		a := keeperArgs{Name: fmt.Sprintf("n%d", i+1), Dir: t.TempDir(), Listen: route, Nodes: routes, Scope: scope, TTL: ttl, Names: names(i)}
		out[i] = &keeper{Process: bustest.Child(t, "keeper", arg(t, a)), args: a}
	}
	for waits := slices.Clone(out); len(waits) > 0; { // one whose port was taken says so at once, while the others wait for it
		for i, k := range waits {
			select {
			case line, ok := <-k.Lines():
				if !ok || json.Unmarshal([]byte(line), &k.up) != nil {
					t.Fatalf("keeper %s printed %q and not that it is up", k.args.Name, line)
				}
				if k.up.AddressInUse {
					for _, k := range out {
						k.Kill()
					}
					return nil
				}
				waits = slices.Delete(waits, i, i+1)
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
	}
	return out
}

type keeper struct {
	*bustest.Process
	args keeperArgs
	up   keeperUp
}

func arg(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// startOwner starts a process that owns names.
func startOwner(t *testing.T, a ownerArgs) (*bustest.Process, keeperUp) {
	t.Helper()
	p := bustest.Child(t, "owner", arg(t, a))
	var up keeperUp
	p.JSON(&up)
	return p, up
}

// observe opens a registry that only looks, on the node at url.
func observe(t *testing.T, url, scope string, ttl time.Duration, opts *bus.ConnectOptions) *registry.Registry {
	t.Helper()
	conn := bustest.Dial(t, url, opts)
	reg, err := openRegistry(bustest.Context(t), conn, scope, ttl, registry.Options{Node: "observer", Role: registry.Never})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Close(context.Background()); err != nil {
			t.Errorf("close registry: %v", err)
		}
	})
	if err := reg.WaitSynced(bustest.Context(t)); err != nil {
		t.Fatal(err)
	}
	return reg
}

// monitorName waits until a view has name and watches for its end.
func monitorName(t *testing.T, reg *registry.Registry, name string) <-chan registry.Down {
	t.Helper()
	var down <-chan registry.Down
	bustest.Eventually(t, "the view has "+name, func() bool {
		var err error
		down, err = reg.Monitor(t.Context(), name)
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	})
	return down
}

// childLog writes a child's log to stderr where the environment asks for it.
func childLog() *slog.Logger {
	if os.Getenv("TOOLBUS_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
