package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/kvstore"
)

// throughProxy is a connection whose line a test can hold and cut.
func throughProxy(t *testing.T, s *server.Server) (*nats.Conn, *proxy) {
	t.Helper()
	p := newProxy(t, s.Addr().String())
	nc, err := nats.Connect(p.url(), nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.IgnoreDiscoveredServers(), nats.DontRandomize())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, p
}

// A write without an answer is unknown, and may happen after the call: the next conditional write settles it.
func TestUnansweredWriteIsUnknown(t *testing.T) {
	nc, line := throughProxy(t, oneNode(t))
	s := openOn(t, nc, scopeOf(t), nil)
	must[kvstore.Revision](t)(s.Create(within(t, 20*time.Second), "first", nil, 0))
	line.hold(true)
	begun := time.Now()
	_, err := s.Create(within(t, 300*time.Millisecond), "k", []byte("late"), 0)
	if !errors.Is(err, kvstore.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want unknown", err)
	}
	_, err = s.Batch(within(t, 300*time.Millisecond), []kvstore.Op{{Key: "a"}, {Key: "b"}})
	if !errors.Is(err, kvstore.ErrUnknown) {
		t.Fatalf("batch: %v, want unknown", err)
	}
	if _, err := s.Get(within(t, 300*time.Millisecond), "first"); !errors.Is(err, kvstore.ErrUnavailable) {
		t.Fatalf("get: %v, want unavailable", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Fatalf("three calls of 300 ms took %v", took)
	}
	line.hold(false)
	poll(t, "the late write happens", func() bool {
		e, err := s.Get(within(t, 20*time.Second), "k")
		return err == nil && string(e.Value) == "late"
	})
	if _, err := s.Create(within(t, 20*time.Second), "k", nil, 0); !errors.Is(err, kvstore.ErrConflict) {
		t.Fatalf("%v, want a conflict with the late write", err)
	}
}

// While the line is down nothing is sent, and nothing is sent later.
func TestNothingWaitsInADownConnection(t *testing.T) {
	nc, line := throughProxy(t, oneNode(t))
	s := openOn(t, nc, scopeOf(t), nil)
	rev := must[kvstore.Revision](t)(s.Create(within(t, 20*time.Second), "first", nil, 0))
	line.hold(true)
	line.cut()
	poll(t, "the connection notices", func() bool { return !nc.IsConnected() })
	if _, err := s.Create(within(t, 200*time.Millisecond), "k", nil, 0); !errors.Is(err, kvstore.ErrUnavailable) {
		t.Fatalf("%v, want unavailable", err)
	}
	line.hold(false)
	if next := must[kvstore.Revision](t)(s.Create(within(t, 20*time.Second), "other", nil, 0)); next != rev+1 {
		t.Fatalf("revision %d after %d: the refused write happened", next, rev)
	}
	nc.Close()
	begun := time.Now()
	if _, err := s.Create(within(t, 20*time.Second), "k", nil, 0); !errors.Is(err, kvstore.ErrUnavailable) || time.Since(begun) > 5*time.Second {
		t.Fatalf("closed: %v after %v", err, time.Since(begun))
	}
	for _, err := range s.Watch(within(t, 20*time.Second), nil) {
		if !errors.Is(err, kvstore.ErrUnavailable) {
			t.Fatalf("closed: %v", err)
		}
	}
}

// A watch whose line was cut has everything again after the reconnect, by a snapshot.
func TestWatchSurvivesAReconnect(t *testing.T) {
	node := oneNode(t)
	scope := scopeOf(t)
	writer := openOn(t, dial(t, node), scope, nil)
	rev := must[kvstore.Revision](t)(writer.Create(within(t, 20*time.Second), "k", nil, 0))
	nc, line := throughProxy(t, node)
	v := viewOf(t, openOn(t, nc, scope, nil), nil)
	v.wait(t, rev)
	for i := range 5 {
		snaps := v.snapshots()
		line.hold(true)
		line.cut()
		for range 3 {
			rev = must[kvstore.Revision](t)(writer.Update(within(t, 20*time.Second), "k", fmt.Append(nil, i), rev, 0))
		}
		line.hold(false)
		v.wait(t, rev)
		if v.snapshots() == snaps {
			t.Fatal("no snapshot after a reconnect")
		}
	}
	if n := v.state(); len(n) != 1 {
		t.Fatalf("a watch that only reads wrote: %v", n)
	}
}

func TestDeniedCredentials(t *testing.T) {
	o := options("guarded", t.TempDir())
	o.Users = []*server.User{
		{Username: "all", Password: "x"},
		{Username: "reader", Password: "x", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.STREAM.INFO.>", "$JS.API.DIRECT.GET.>", "$JS.API.STREAM.MSG.GET.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "toolbus.feed.>"}},
		}},
	}
	node, err := startServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(node) })
	writer := openOn(t, dial(t, node, nats.UserInfo("all", "x")), "s", nil)
	rev := must[kvstore.Revision](t)(writer.Create(within(t, 20*time.Second), "k", nil, 0))
	reader := openOn(t, dial(t, node, nats.UserInfo("reader", "x")), "s", nil)
	if _, err := reader.Update(within(t, time.Second), "k", nil, rev, 0); !errors.Is(err, kvstore.ErrDenied) {
		t.Fatalf("%v, want denied", err)
	}
	v := viewOf(t, reader, nil)
	v.wait(t, must[kvstore.Revision](t)(writer.Update(within(t, 20*time.Second), "k", nil, rev, 0)))
	if e, err := reader.Get(within(t, 20*time.Second), "k"); err != nil || e.Revision != rev+1 {
		t.Fatalf("%+v, %v", e, err)
	}
}

// The leader is killed under a load of writes: what was acknowledged is in the view, nothing twice, nothing left out.
func TestLeaderKilled(t *testing.T) {
	c := ownCluster(t)
	scope := scopeOf(t)
	first := openOn(t, dial(t, c.servers[0]), scope, nil)
	must[kvstore.Revision](t)(first.Create(within(t, 20*time.Second), "first", nil, 0))
	leader := c.leader("KV_toolbus_" + scope)
	survivor := c.other(leader)
	s := openOn(t, dial(t, survivor), scope, nil)
	v := viewOf(t, openOn(t, dial(t, survivor), scope, nil), nil)
	acked := make(map[string]kvstore.Revision)
	write := func(i int) {
		key := fmt.Sprintf("k.%d", i)
		rev, err := s.Create(within(t, 20*time.Second), key, nil, 0)
		switch {
		case err == nil:
			acked[key] = rev
		case errors.Is(err, kvstore.ErrUnknown), errors.Is(err, kvstore.ErrUnavailable):
		default:
			t.Fatalf("%s: %v", key, err)
		}
	}
	for i := range 100 {
		write(i)
	}
	leader.Shutdown()
	killed := time.Now()
	write(100)
	t.Logf("the first write after the kill returned after %v", time.Since(killed))
	for i := range 100 {
		write(101 + i)
	}
	last := must[kvstore.Revision](t)(s.Barrier(within(t, 30*time.Second)))
	v.wait(t, last)
	state := v.state()
	for key, rev := range acked {
		if state[key].Revision != rev {
			t.Fatalf("%s was acknowledged at %d, the view has %d", key, rev, state[key].Revision)
		}
	}
	if len(acked) < 190 {
		t.Fatalf("%d of 201 acknowledged", len(acked))
	}
	t.Logf("%d acknowledged, %d snapshots", len(acked), v.snapshots())
}

// Without a quorum every call ends with its context and a typed error; the watch waits, and goes on when the quorum is back.
func TestLostQuorum(t *testing.T) {
	c := ownCluster(t)
	scope := scopeOf(t)
	setup := openOn(t, dial(t, c.servers[0]), scope, nil)
	rev := must[kvstore.Revision](t)(setup.Create(within(t, 20*time.Second), "k", nil, 0))
	s := openOn(t, dial(t, c.servers[0]), scope, nil)
	v := viewOf(t, s, nil)
	v.wait(t, rev)
	c.servers[1].Shutdown()
	c.servers[2].Shutdown()
	calls := map[string]func(context.Context) error{
		"create":  func(ctx context.Context) error { _, err := s.Create(ctx, "l", nil, 0); return err },
		"update":  func(ctx context.Context) error { _, err := s.Update(ctx, "k", nil, rev, 0); return err },
		"delete":  func(ctx context.Context) error { _, err := s.Delete(ctx, "k", nil, rev); return err },
		"barrier": func(ctx context.Context) error { _, err := s.Barrier(ctx); return err },
		"batch": func(ctx context.Context) error {
			_, err := s.Batch(ctx, []kvstore.Op{{Key: "a"}, {Key: "b"}})
			return err
		},
	}
	for name, call := range calls {
		begun := time.Now()
		err := call(within(t, 500*time.Millisecond))
		if !errors.Is(err, kvstore.ErrUnknown) && !errors.Is(err, kvstore.ErrUnavailable) && !errors.Is(err, kvstore.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s: a context of 500 ms took %v", name, took)
		}
	}
	for i := 1; i < 3; i++ {
		back, err := startServer(c.opts[i].Clone())
		if err != nil {
			t.Fatal(err)
		}
		c.servers[i] = back
	}
	bar := must[kvstore.Revision](t)(openOn(t, dial(t, c.servers[0]), scope, &kvstore.JetStreamOptions{Timeout: 30 * time.Second}).Barrier(within(t, 30*time.Second)))
	v.wait(t, bar)
}

func TestTooManyBatchesAreBusyNotLost(t *testing.T) {
	o := options("narrow", t.TempDir())
	o.JetStreamLimits.MaxBatchInflightPerStream = 1
	node, err := startServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(node) })
	s := openOn(t, dial(t, node), "s", nil)
	ctx := within(t, 30*time.Second)
	errs := make(chan error, 8)
	for w := range 8 {
		go func() {
			_, err := s.Batch(ctx, []kvstore.Op{{Key: fmt.Sprintf("a.%d", w)}, {Key: fmt.Sprintf("b.%d", w)}})
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil && !errors.Is(err, kvstore.ErrBusy) {
			t.Error(err)
		}
	}
}

// A leader that still counts the last write as in flight is asked again, for a while.
func TestWriteInFlightIsAskedAgain(t *testing.T) {
	nc := dial(t, oneNode(t))
	scope := scopeOf(t)
	s := openOn(t, nc, scope, nil)
	if err := s.Ensure(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	// From here on we are the leader.
	if err := jsOn(t, nc).DeleteStream(within(t, 20*time.Second), "KV_toolbus_"+scope); err != nil {
		t.Fatal(err)
	}
	asked := make(chan int, 1)
	asked <- 0
	fake := dial(t, oneNode(t))
	_, err := fake.Subscribe("$KV.toolbus_"+scope+".>", func(m *nats.Msg) {
		n := <-asked + 1
		asked <- n
		answer := `{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}`
		if n == 3 {
			answer = `{"stream":"KV_toolbus_` + scope + `","seq":4711}`
		}
		_ = m.Respond([]byte(answer))
	})
	if err := errors.Join(err, fake.Flush()); err != nil {
		t.Fatal(err)
	}
	if rev := must[kvstore.Revision](t)(s.Update(within(t, 20*time.Second), "k", nil, 7, 0)); rev != 4711 {
		t.Fatalf("revision %d", rev)
	}
	_, err = s.Update(within(t, 20*time.Second), "k", nil, 7, 0)
	c, ok := errors.AsType[*kvstore.ConflictError](err)
	if !ok || c.Key != "k" || c.Expected != 7 || c.Actual != 0 {
		t.Fatalf("%v, want a conflict that does not know", err)
	}
	if n := <-asked; n < 10 {
		t.Fatalf("asked %d times", n)
	}
}
