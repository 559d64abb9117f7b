package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

// links records what NotifyLink tells.
func links(t *testing.T, c *bus.Conn) (next func(up bool) string) {
	t.Helper()
	type state struct {
		up  bool
		why string
	}
	ch := make(chan state, 64)
	t.Cleanup(c.NotifyLink(func(up bool, why string) { ch <- state{up, why} }))
	return func(up bool) string {
		t.Helper()
		select {
		case s := <-ch:
			if s.up != up {
				t.Fatalf("link is up=%v (%s), want %v", s.up, s.why, up)
			}
			return s.why
		case <-time.After(bustest.Deadline):
			t.Fatalf("link did not become up=%v", up)
		}
		return ""
	}
}

func TestConnNames(t *testing.T) {
	n := bustest.Node(t, &bus.NodeOptions{Name: "alpha"})
	if c := bustest.Connect(t, n); c.Name() != "toolbus node alpha" || c.NATS().Opts.Name != c.Name() || c.Node() != n {
		t.Errorf("a node's connection is called %q", c.Name())
	}
	c, err := n.Connect(t.Context(), &bus.ConnectOptions{Role: "keeper", Name: "beta"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Name() != "toolbus keeper beta" {
		t.Errorf("called %q", c.Name())
	}
	server, client, servers := c.Link()
	if server != n.ID() || client == "" || servers != 1 {
		t.Errorf("Link() = %q, %q, %d on server %q", server, client, servers, n.ID())
	}
}

// TestConnReconnects: a server restarts; the connection is told to be down, refuses meanwhile, and is back with other ids.
func TestConnReconnects(t *testing.T) {
	dir := t.TempDir()
	srv, err := bustest.StartPlain(dir, -1)
	if err != nil {
		t.Fatal(err)
	}
	url, port := srv.ClientURL(), srv.Addr().(*net.TCPAddr).Port
	c := bustest.Dial(t, url, nil)
	got := make(chan string, 16)
	stop, err := c.Subscribe("hello", func(data []byte) []byte { got <- string(data); return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	next := links(t, c)
	next(true)
	server, client, servers := c.Link()
	if server != srv.ID() || client == "" || servers != 1 {
		t.Errorf("Link() = %q, %q, %d on server %q", server, client, servers, srv.ID())
	}
	srv.Shutdown()
	srv.WaitForShutdown()
	if why := next(false); !strings.Contains(why, "disconnected") {
		t.Errorf("why: %q", why)
	}
	if s, cl, n := c.Link(); s != "" || cl != "" || n != 0 {
		t.Errorf("Link() = %q, %q, %d while disconnected", s, cl, n)
	}
	if err := c.Publish("hello", nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("Publish while disconnected: %v", err)
	}
	if _, err := c.Request(t.Context(), "hello", nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("Request while disconnected: %v", err)
	}
	if srv, err = bustest.StartPlain(dir, port); err != nil {
		t.Fatal(err)
	}
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	next(true)
	if s, cl, _ := c.Link(); s != srv.ID() || cl == "" {
		t.Errorf("Link() = %q, %q on server %q", s, cl, srv.ID())
	}
	if err := c.Publish("hello", []byte("again")); err != nil {
		t.Fatal(err)
	}
	if data := <-got; data != "again" {
		t.Errorf("got %q: something was kept while disconnected", data)
	}
}

// TestConnRequestCutOff: a request whose connection breaks does not wait for its deadline.
func TestConnRequestCutOff(t *testing.T) {
	srv := bustest.Plain(t)
	owner := bustest.Dial(t, srv.ClientURL(), nil)
	taken := make(chan struct{})
	h, err := owner.Handle("slow", "", func(ctx context.Context, m *bus.Message) { close(taken); <-ctx.Done() }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := bustest.Dial(t, srv.ClientURL(), nil)
	go func() {
		<-taken
		srv.Shutdown()
	}()
	if _, err := c.Request(bustest.Context(t), "slow", nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("Request: %v", err)
	}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Close(cut); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
}

// TestConnFindsOtherNodes: a client that knows one node of a cluster learns of all, and goes to another when its own dies, even
// though that one, cut off before it dies, had told it that there are no others.
func TestConnFindsOtherNodes(t *testing.T) {
	c := bustest.NewCluster(t, 3)
	d := bustest.Dial(t, c.Node(0).URL(), nil)
	next := links(t, d)
	next(true)
	bustest.Eventually(t, "the connection knows three servers", func() bool { _, _, n := d.Link(); return n == 3 })
	if err := c.Kill(0); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	next(false)
	next(true)
	t.Logf("on another node after %s", time.Since(start).Round(time.Millisecond))
	if s, _, _ := d.Link(); s != c.Node(1).ID() && s != c.Node(2).ID() {
		t.Errorf("connected to %q", s)
	}
}

// TestConnEndsWithNode: a node's own connection has nowhere to go.
func TestConnEndsWithNode(t *testing.T) {
	n := bustest.Node(t, nil)
	c := bustest.Connect(t, n)
	next := links(t, c)
	next(true)
	n.Server().Shutdown() // not through Close: the node notices by itself
	<-c.Done()
	<-n.Done()
	for why := next(false); !strings.Contains(why, "node"); why = next(false) { // first, perhaps, "disconnected"
	}
	if err := c.Publish("x", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Publish: %v", err)
	}
	if _, err := c.Request(t.Context(), "x", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Request: %v", err)
	}
	if _, err := c.Subscribe("x", func([]byte) []byte { return nil }); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Subscribe: %v", err)
	}
	if _, err := c.Handle("x", "", func(context.Context, *bus.Message) {}, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Handle: %v", err)
	}
	if _, err := c.Announce(t.Context(), bus.ServiceInfo{}); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Announce: %v", err)
	}
	if _, err := n.Connect(t.Context(), nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Connect: %v", err)
	}
	if s, cl, k := c.Link(); s != "" || cl != "" || k != 0 {
		t.Errorf("Link() = %q, %q, %d", s, cl, k)
	}
}

func TestConnUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if _, err := bus.Connect(t.Context(), "nats://"+addr, nil); !errors.Is(err, bus.ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	// A host that accepts and says nothing: ctx ends the wait, not the timeout.
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
		}
		cancel()
		_, _ = bufio.NewReader(c).ReadByte() // until the client hangs up
	}()
	_, err = bus.Connect(ctx, "nats://"+l.Addr().String(), &bus.ConnectOptions{Timeout: bustest.Deadline})
	if !errors.Is(err, bus.ErrUnreachable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a silent server: %v", err)
	}
}

// TestConnTooOld talks to a server that says it is 2.10.
func TestConnTooOld(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "INFO {\"server_id\":\"OLD\",\"version\":\"2.10.27\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\"client_id\":7}\r\n")
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "PING") {
				fmt.Fprintf(c, "PONG\r\n")
			}
		}
	}()
	_, err = bus.Connect(t.Context(), "nats://"+l.Addr().String(), nil)
	if !errors.Is(err, bus.ErrTooOld) || !strings.Contains(err.Error(), "2.10.27") || !strings.Contains(err.Error(), bus.MinServerVersion) {
		t.Errorf("Connect: %v", err)
	}
	l.Close()
	<-done
}

func TestConnClose(t *testing.T) {
	n := bustest.Node(t, nil)
	c := bustest.Connect(t, n)
	var told []bool
	c.NotifyLink(func(up bool, _ string) { told = append(told, up) }) // no lock: one goroutine, and Close waits for it
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	<-c.Done()
	if len(told) != 2 || !told[0] || told[1] {
		t.Errorf("told %v, want up, then down", told)
	}
	if c.NATS().Status() != nats.CLOSED {
		t.Error("NATS connection still open")
	}
	stop := c.NotifyLink(func(bool, string) { t.Error("told after the end") })
	stop()
}
