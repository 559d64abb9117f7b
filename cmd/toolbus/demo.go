package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// stepTimeout bounds one step: far more than any takes, so that a demo that hangs says where.
const stepTimeout = 20 * time.Second

// demo is one run of the demo.
type demo struct {
	e      *env
	dir    string
	report demoReport
	nodes  []*demoNode
	others []*demoChild // servers, and nodes that did not come up
}

// demoNode is one node and the demo's own view through it.
type demoNode struct {
	name  string
	child *demoChild
	url   string
	conn  *bus.Conn
	store *kvstore.JetStream
	reg   *registry.Registry
	gone  bool
}

func demoCommand(e *env) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "see it work: three nodes, three servers, a crash",
		Long: "Demo starts three nodes and three MCP servers on this machine, each a process of its own, and shows what the bus does: two claim one\n" +
			"name, calls by name, groups, kill -9 of a server and of a node. Every claim is checked and timed in this very run; it exits 1 when\n" +
			"one does not hold. Nothing is left behind.",
		Example: "toolbus demo\ntoolbus demo --keep       # the bus stays up until Ctrl-C\ntoolbus demo -o json",
		Args:    exactArgs(0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return e.demo(cmd.Context(), keep) },
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the bus up until Ctrl-C")
	return cmd
}

// demo runs the steps, reports, and takes everything down.
func (e *env) demo(ctx context.Context, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "toolbus-demo-")
	if err != nil {
		return err
	}
	e.scope = "default" // whatever the user works in: this is a bus of its own
	d := &demo{e: e, dir: dir, report: demoReport{header: head("Demo")}}
	defer func() { err = errors.Join(err, d.down()) }()
	if !e.out.machine() {
		if err := e.out.lines([]string{"Three nodes and three MCP servers on this machine, each a process of its own,", "and a fourth server, clock, that lives in a node. Each line is checked before it is printed.", ""}); err != nil {
			return err
		}
	}
	began := time.Now()
	err = d.steps(ctx)
	took := time.Since(began)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var urls []string
	for _, n := range d.nodes {
		if !n.gone {
			urls = append(urls, n.url)
		}
	}
	d.report.Holds, d.report.Seconds = err == nil, float64(took.Milliseconds())/1000
	if keep {
		d.report.Nodes = urls
	}
	if e.out.machine() {
		err = errors.Join(err, e.out.document(d.report))
	} else if err == nil {
		url := ""
		if keep {
			url = urls[0]
		}
		err = e.out.lines([]string{"", fmt.Sprintf("All %d claims hold: checked and timed in this run, %.1f s in all.", len(d.report.Steps), took.Seconds()), ""})
		err = errors.Join(err, d.around(url, "calculator"))
	}
	if err != nil || !keep {
		return err
	}
	<-ctx.Done()
	return interrupted(ctx)
}

// down ends every process and removes the folder.
func (d *demo) down() error {
	var wg sync.WaitGroup
	for _, n := range d.nodes {
		wg.Go(n.close)
	}
	wg.Wait()
	for _, c := range d.others {
		wg.Go(c.end)
	}
	for _, n := range d.nodes {
		wg.Go(n.child.end)
	}
	wg.Wait()
	return os.RemoveAll(d.dir)
}

// close ends the demo's own view through a node.
func (n *demoNode) close() {
	if n.reg != nil {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = n.reg.Close(end) // it owns nothing
	}
	if n.conn != nil {
		_ = n.conn.Close()
	}
}

// startNodes starts three nodes that know of one another. Their ports are found by asking for free ones, which another program may take in
// between: then other ones are tried.
func (d *demo) startNodes(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := d.tryNodes(ctx, attempt)
		if !errors.Is(err, errInUse) || attempt == 5 {
			return err
		}
		for _, n := range d.nodes {
			n.child.end()
		}
		d.nodes = nil
	}
}

func (d *demo) tryNodes(ctx context.Context, attempt int) error {
	addrs, err := bus.FreeAddrs(3)
	if err != nil {
		return err
	}
	secret := rand.Text()
	for i, addr := range addrs {
		name := fmt.Sprintf("n%d", i+1)
		c := demoNodeConfig{
			Name: name, Dir: filepath.Join(d.dir, fmt.Sprintf("%s-%d", name, attempt)), Scope: d.e.scope, Cluster: addr, Join: addrs, Secret: secret,
		}
		if i == 2 {
			c.Serves = "clock"
		}
		child, err := startChild(d.dir, name, "demo-node", c)
		if err != nil {
			return err
		}
		d.nodes = append(d.nodes, &demoNode{name: name, child: child})
	}
	for _, n := range d.nodes {
		line, err := n.child.hear(ctx)
		if err != nil {
			return err
		}
		n.url = line.URL
	}
	for _, n := range d.nodes {
		if err := n.look(ctx, d.e); err != nil {
			return err
		}
	}
	return nil
}

// look opens the demo's own view through the node.
func (n *demoNode) look(ctx context.Context, e *env) (err error) {
	if n.conn, err = bus.Connect(ctx, n.url, &bus.ConnectOptions{Role: "demo", Name: "at " + n.name}); err != nil {
		return err
	}
	if n.store, err = kvstore.OpenJetStream(ctx, n.conn.NATS(), e.scope, nil); err != nil {
		return err
	}
	if n.reg, err = registry.Open(ctx, n.store, &registry.Options{Scope: e.scope, Peers: n.conn, Role: registry.Never}); err != nil {
		return err
	}
	return n.reg.WaitSynced(ctx)
}
