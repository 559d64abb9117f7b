package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

func TestHandle(t *testing.T) {
	n := bustest.Node(t, nil)
	c, caller := bustest.Connect(t, n), bustest.Connect(t, n)
	h, err := c.Handle("up", "", func(_ context.Context, m *bus.Message) {
		switch string(m.Data) {
		case "fail":
			m.RespondError(errors.New("a secret"))
		case "denied":
			m.RespondError(fmt.Errorf("wrapped: %w", bus.ErrAuth))
		default:
			m.RespondMsg(&nats.Msg{Data: m.Data, Header: nats.Header{"X": []string{m.Header.Get("X")}}})
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := caller.RequestMsg(t.Context(), &nats.Msg{Subject: "up", Data: []byte("hi"), Header: nats.Header{"X": []string{"y"}}})
	if err != nil || string(m.Data) != "hi" || m.Header.Get("X") != "y" {
		t.Fatalf("RequestMsg: %v, %v", m, err)
	}
	if _, err := caller.Request(t.Context(), "up", []byte("denied")); !errors.Is(err, bus.ErrAuth) {
		t.Errorf("a known error: %v", err)
	}
	_, err = caller.Request(t.Context(), "up", []byte("fail"))
	if !errors.Is(err, bus.ErrInternal) || err.Error() != bus.ErrInternal.Error() {
		t.Errorf("an unknown error: %v", err)
	}
	// Whoever does not know our header still learns it.
	raw, err := caller.NATS().Request("up", []byte("denied"), bustest.Deadline)
	if err != nil || raw.Header.Get(bus.HeaderServiceCode) != "403" || raw.Header.Get(bus.HeaderServiceError) == "" {
		t.Errorf("headers %v, %v", raw.Header, err)
	}
}

// TestHandleBusy: as many run as may, as many wait as may, and one more is told at once.
func TestHandleBusy(t *testing.T) {
	n := bustest.Node(t, nil)
	c, caller := bustest.Connect(t, n), bustest.Connect(t, n)
	const limit, queue = 3, 2
	entered, release := make(chan struct{}, 16), make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	var running, most atomic.Int32
	h, err := c.Handle("work", "q", func(_ context.Context, m *bus.Message) {
		now := running.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		entered <- struct{}{}
		<-release
		running.Add(-1)
		m.Respond([]byte("done"))
	}, &bus.HandleOptions{Concurrency: limit, Queue: queue})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(t.Context()) })
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	// One connection keeps order: the last request comes when all places are taken.
	inbox := caller.NATS().NewRespInbox()
	answers, err := caller.NATS().SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for range limit + queue {
		if err := caller.NATS().PublishRequest("work", inbox, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := caller.Request(bustest.Context(t), "work", nil); !errors.Is(err, bus.ErrBusy) {
		t.Errorf("one more than there is room for: %v", err)
	}
	for range limit {
		<-entered
	}
	free()
	for range limit + queue {
		if m, err := answers.NextMsg(bustest.Deadline); err != nil || string(m.Data) != "done" {
			t.Errorf("a request that was taken: %v, %v", m, err)
		}
	}
	if most.Load() != limit {
		t.Errorf("%d ran at once, want %d", most.Load(), limit)
	}
}

// TestHandleDrains: two members of a queue group under load; one leaves. Every request is answered, by one or the other.
func TestHandleDrains(t *testing.T) {
	cluster := bustest.Cluster(t, 3)
	var conns [2]*bus.Conn
	var hs [2]*bus.Handling
	var served [2]atomic.Int64
	for i := range conns {
		conns[i] = bustest.Connect(t, cluster.Node(i))
		h, err := conns[i].Handle("drain.me", "q", func(_ context.Context, m *bus.Message) {
			served[i].Add(1)
			runtime.Gosched()
			m.Respond(m.Data)
		}, &bus.HandleOptions{Concurrency: 2, Queue: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		hs[i] = h
		if err := conns[i].Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	caller := bustest.Dial(t, cluster.Node(2).URL(), nil)
	bustest.Eventually(t, "the subject is known on the third node", func() bool {
		_, err := caller.Request(bustest.Context(t), "drain.me", []byte("x"))
		return err == nil
	})
	const workers, each = 32, 100
	var wg sync.WaitGroup
	var failed atomic.Int64
	half := make(chan struct{})
	var count atomic.Int64
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := caller.Request(bustest.Context(t), "drain.me", []byte("x")); err != nil {
					failed.Add(1)
					t.Errorf("request: %v", err)
				}
				if count.Add(1) == workers*each/2 {
					close(half)
				}
			}
		})
	}
	<-half
	if err := hs[0].Close(bustest.Context(t)); err != nil {
		t.Errorf("Close: %v", err)
	}
	left := served[0].Load()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests were lost", failed.Load(), workers*each)
	}
	if served[0].Load() != left {
		t.Error("a handler ran after Close had returned")
	}
	t.Logf("served %d and %d", served[0].Load(), served[1].Load())
}

// TestHandleTaken: what the server has delivered when Close is called is handled, also what this process has not read yet.
func TestHandleTaken(t *testing.T) {
	n := bustest.Node(t, &bus.NodeOptions{Listen: "127.0.0.1:0"})
	c, caller := bustest.Dial(t, n.URL(), nil), bustest.Connect(t, n)
	const requests = 20_000
	var served atomic.Int64
	h, err := c.Handle("taken", "", func(context.Context, *bus.Message) { served.Add(1) }, &bus.HandleOptions{Queue: requests})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range requests {
		if err := caller.Publish("taken", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := caller.Flush(t.Context()); err != nil { // the server has them all
		t.Fatal(err)
	}
	before := served.Load()
	if err := h.Close(bustest.Context(t)); err != nil {
		t.Fatal(err)
	}
	if served.Load() != requests {
		t.Errorf("%d of %d requests were handled (%d before Close)", served.Load(), requests, before)
	}
}

// TestConnCloseDrains: Close of the connection waits for handlers and their answers.
func TestConnCloseDrains(t *testing.T) {
	n := bustest.Node(t, nil)
	c, caller := bustest.Connect(t, n), bustest.Connect(t, n)
	entered, release := make(chan struct{}), make(chan struct{})
	if _, err := c.Handle("slow", "", func(_ context.Context, m *bus.Message) {
		if string(m.Data) == "wait" {
			close(entered)
			<-release
		}
		m.Respond([]byte("late"))
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		data, err := caller.Request(bustest.Context(t), "slow", []byte("wait"))
		answer <- fmt.Sprint(string(data), err)
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	bustest.Eventually(t, "new requests find nobody", func() bool {
		_, err := caller.Request(bustest.Context(t), "slow", nil)
		return errors.Is(err, bus.ErrNoResponders)
	})
	select {
	case <-closed:
		t.Fatal("Close did not wait for the handler")
	default:
	}
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if got := <-answer; got != "late<nil>" {
		t.Errorf("the caller got %q", got)
	}
}

// TestHandleCut, in virtual time: a handler that does not end is told to, and Close says so; what waited behind it is refused, not dropped.
func TestHandleCut(t *testing.T) {
	bustest.Bubble(t, func(t *testing.T, n *bus.Node) {
		connect := func() *bus.Conn {
			c, err := n.Connect(t.Context(), &bus.ConnectOptions{DrainTimeout: 7 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c, caller := connect(), connect()
		defer caller.Close()
		entered := make(chan struct{})
		if _, err := c.Handle("hang", "", func(ctx context.Context, m *bus.Message) { close(entered); <-ctx.Done() },
			&bus.HandleOptions{Concurrency: 1}); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { caller.Request(first, "hang", nil) })
		<-entered
		second := make(chan error, 1)
		wg.Go(func() {
			_, err := caller.Request(t.Context(), "hang", nil)
			second <- err
		})
		time.Sleep(time.Second) // virtual: the second one waits in the queue
		start := time.Now()
		if err := c.Close(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took < 7*time.Second || took > 9*time.Second {
			t.Errorf("Close took %s, want the drain timeout of 7s", took)
		}
		if err := <-second; !errors.Is(err, bus.ErrClosed) {
			t.Errorf("the request in the queue: %v", err)
		}
		cancel()
		wg.Wait()
	})
}

// TestHandleMany: idle handlings cost no goroutine.
func TestHandleMany(t *testing.T) {
	n := bustest.Node(t, nil)
	c, caller := bustest.Connect(t, n), bustest.Connect(t, n)
	before := runtime.NumGoroutine()
	const many = 1000
	for i := range many {
		if _, err := c.Handle(fmt.Sprintf("many.%d", i), "", func(_ context.Context, m *bus.Message) { m.Respond([]byte(m.Subject)) }, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if more := runtime.NumGoroutine() - before; more > 10 {
		t.Errorf("%d handlings cost %d goroutines", many, more)
	}
	for i := range many {
		subject := fmt.Sprintf("many.%d", i)
		if data, err := caller.Request(t.Context(), subject, nil); err != nil || string(data) != subject {
			t.Fatalf("%s: %q, %v", subject, data, err)
		}
	}
	start := time.Now()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d handlings drained in %s", many, time.Since(start))
}
