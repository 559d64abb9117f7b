package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

// client is a child: a connection that tells its link and then waits to be killed.
func client(ctx context.Context, args []string, out io.Writer) error {
	c, err := bus.Connect(ctx, args[0], &bus.ConnectOptions{Name: "victim"})
	if err != nil {
		return err
	}
	defer c.Close()
	server, id, _ := c.Link()
	if err := json.NewEncoder(out).Encode([]string{server, id}); err != nil {
		return err
	}
	<-c.Done()
	return nil
}

type lost struct {
	server, client, reason string
	at                     time.Time
}

func watchLost(t *testing.T, c *bus.Conn) <-chan lost {
	t.Helper()
	ch := make(chan lost, 1024)
	stop := c.NotifyLost(func(server, client, reason string) { ch <- lost{server, client, reason, time.Now()} })
	t.Cleanup(stop)
	return ch
}

// wait returns the first event that names server and client; what came before it is passed over.
func wait(t *testing.T, ch <-chan lost, server, client string) lost {
	t.Helper()
	timer := time.NewTimer(bustest.Deadline)
	defer timer.Stop()
	for {
		select {
		case ev := <-ch:
			if ev.server == server && ev.client == client {
				return ev
			}
		case <-timer.C:
			t.Fatalf("no event for server %q client %q", server, client)
		}
	}
}

// TestLostClient: a process that is killed is named, on another node, by the ids that it knew itself.
func TestLostClient(t *testing.T) {
	c := bustest.Cluster(t, 3)
	ch := watchLost(t, bustest.Connect(t, c.Node(1)))
	var worst time.Duration
	for range 5 {
		p := bustest.Child(t, "client", c.Node(0).URL())
		var ids []string
		p.JSON(&ids)
		if ids[0] != c.Node(0).ID() || ids[1] == "" {
			t.Fatalf("the child is on %v, want server %s", ids, c.Node(0).ID())
		}
		start := time.Now()
		p.Signal(syscall.SIGKILL)
		ev := wait(t, ch, ids[0], ids[1])
		if ev.reason != bus.LostClosed && ev.reason != bus.LostRead {
			t.Errorf("reason %q", ev.reason)
		}
		worst = max(worst, ev.at.Sub(start))
	}
	t.Logf("kill -9 of a client: told on another node after %s at the worst of 5", worst)
	if worst > time.Second {
		t.Errorf("%s is too slow", worst)
	}
}

func TestLostReasons(t *testing.T) {
	c := bustest.Cluster(t, 3)
	ch := watchLost(t, bustest.Connect(t, c.Node(1)))

	d := bustest.Dial(t, c.Node(0).URL(), nil)
	server, id, _ := d.Link()
	d.Close()
	if ev := wait(t, ch, server, id); ev.reason != bus.LostClosed {
		t.Errorf("a closed connection: %q", ev.reason)
	}

	in := bustest.Connect(t, c.Node(2))
	server, id, _ = in.Link()
	in.Close()
	if ev := wait(t, ch, server, id); ev.reason != bus.LostClosed {
		t.Errorf("a closed in-process connection: %q", ev.reason)
	}

	k := bustest.Dial(t, c.Node(0).URL(), nil)
	server, id, _ = k.Link()
	var cid uint64
	fmt.Sscan(id, &cid)
	if err := c.Node(0).Server().DisconnectClientByID(cid); err != nil {
		t.Fatal(err)
	}
	if ev := wait(t, ch, server, id); ev.reason != bus.LostKicked {
		t.Errorf("a kicked connection: %q", ev.reason)
	}
}

// TestLostFrozen: a stopped process answers no pings.
func TestLostFrozen(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for missed pings")
	}
	c := bustest.Cluster(t, 3)
	ch := watchLost(t, bustest.Connect(t, c.Node(1)))
	p := bustest.Child(t, "client", c.Node(0).URL())
	var ids []string
	p.JSON(&ids)
	start := time.Now()
	p.Signal(syscall.SIGSTOP)
	ev := wait(t, ch, ids[0], ids[1])
	t.Logf("SIGSTOP of a client: told after %s", ev.at.Sub(start).Round(time.Millisecond))
	if ev.reason != bus.LostStale {
		t.Errorf("reason %q", ev.reason)
	}
}

// TestLostServer: a node's process is killed, and later one stops in good order. Each is told once.
func TestLostServer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	c := bustest.NewCluster(t, 3)
	ch := watchLost(t, bustest.Connect(t, c.Node(0)))
	killed, stopped := c.Node(1).ID(), c.Node(2).ID()
	start := time.Now()
	if err := c.Kill(1); err != nil {
		t.Fatal(err)
	}
	ev := wait(t, ch, killed, "")
	t.Logf("a killed node: told after %s", ev.at.Sub(start).Round(time.Millisecond))
	if ev.reason != bus.LostRoute {
		t.Errorf("a killed node: %q", ev.reason)
	}
	if err := c.Restart(bustest.Context(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(bustest.Context(t), 2); err != nil {
		t.Fatal(err)
	}
	if ev := wait(t, ch, stopped, ""); ev.reason != bus.LostShutdown {
		t.Errorf("a stopped node: %q", ev.reason)
	}
	// The third time it is the route again: nothing else may have been told of servers in between.
	again := c.Node(1).ID()
	if err := c.Kill(1); err != nil {
		t.Fatal(err)
	}
	for {
		ev := <-ch
		if ev.client != "" {
			continue
		}
		if ev.server != again || ev.reason != bus.LostRoute {
			t.Errorf("told %+v, want only %s by its route", ev, again)
		}
		break
	}
}

// TestLostProcess kills the process of a node.
func TestLostProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	nodes := bustest.Nodes(t, 3, bustest.WithWatcher)
	watcher := nodes[0]
	victim := nodes[1]
	start := time.Now()
	victim.Signal(syscall.SIGKILL)
	for {
		var ev bustest.Lost
		watcher.JSON(&ev)
		if ev.Server != victim.ID {
			continue
		}
		if ev.Client != "" || ev.Reason != bus.LostRoute {
			t.Errorf("told %+v", ev)
		}
		took := ev.At.Sub(start)
		t.Logf("kill -9 of a node: told after %s", took)
		if took > time.Second {
			t.Errorf("%s is too slow", took)
		}
		return
	}
}

// TestIsolated: a node without the majority says so on its own connections, and takes it back.
func TestIsolated(t *testing.T) {
	c := bustest.NewCluster(t, 3)
	conn := bustest.Connect(t, c.Node(0))
	type state struct {
		up  bool
		why string
	}
	ch := make(chan state, 16)
	stop := conn.NotifyLink(func(up bool, why string) { ch <- state{up, why} })
	t.Cleanup(stop)
	next := func(up bool) {
		t.Helper()
		select {
		case s := <-ch:
			if s.up != up || s.why == "" {
				t.Fatalf("link %+v, want up=%v", s, up)
			}
			t.Log(s)
		case <-time.After(bustest.Deadline):
			t.Fatal("nothing told")
		}
	}
	next(true)
	for i := 1; i <= 2; i++ {
		if err := c.Kill(i); err != nil {
			t.Fatal(err)
		}
	}
	next(false)
	// A connection that is made now starts cut off.
	late := bustest.Connect(t, c.Node(0))
	first := make(chan bool, 1)
	lateStop := late.NotifyLink(func(up bool, _ string) {
		select {
		case first <- up:
		default:
		}
	})
	defer lateStop()
	if <-first {
		t.Error("a new connection of an isolated node starts as up")
	}
	if s, _, _ := conn.Link(); s != c.Node(0).ID() {
		t.Errorf("an isolated node's connection is still one to its server: Link gives %q", s)
	}
	if err := c.Restart(bustest.Context(t), 1); err != nil {
		t.Fatal(err)
	}
	next(true)
}

// TestLostSilentElsewhere: a connection by URL sees no events, even to one of our nodes.
func TestLostSilentElsewhere(t *testing.T) {
	c := bustest.Cluster(t, 3)
	d := bustest.Dial(t, c.Node(0).URL(), nil)
	if d.SystemAccount() {
		t.Error("a connection by URL claims to see events")
	}
	d.NotifyLost(func(string, string, string) { t.Error("told") })()
	if n := bustest.Connect(t, c.Node(0)); !n.SystemAccount() {
		t.Error("a node's connection does not see events")
	}
}
