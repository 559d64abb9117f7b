package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/bus/bustest"
)

func TestRequest(t *testing.T) {
	n := bustest.Node(t, nil)
	c := bustest.Connect(t, n)
	stop, err := c.Subscribe("echo", func(data []byte) []byte { return append([]byte("re: "), data...) })
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Request(t.Context(), "echo", []byte("hi"))
	if err != nil || string(answer) != "re: hi" {
		t.Fatalf("Request: %q, %v", answer, err)
	}
	stop()
	_, err = c.Request(t.Context(), "echo", nil)
	if !errors.Is(err, bus.ErrNoResponders) {
		t.Fatalf("after stop: %v", err)
	}
	// How registry asks, which does not import this package.
	var none interface{ NoResponders() bool }
	if !errors.As(err, &none) || !none.NoResponders() {
		t.Errorf("%v does not say that nobody listens", err)
	}
}

func TestRequestEndsWithContext(t *testing.T) {
	n := bustest.Node(t, nil)
	c := bustest.Connect(t, n)
	stop, err := c.Subscribe("silent", func([]byte) []byte { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := c.Request(ctx, "silent", nil); !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
	short, done := context.WithTimeout(t.Context(), time.Millisecond)
	defer done()
	if _, err := c.Request(short, "silent", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
}

// TestSubscribeOneAtATime: functions of one connection never run at once, and see messages in order.
func TestSubscribeOneAtATime(t *testing.T) {
	n := bustest.Node(t, nil)
	c, from := bustest.Connect(t, n), bustest.Connect(t, n)
	var inside atomic.Int32
	var mu sync.Mutex
	var got []string
	const each = 500
	all := make(chan struct{})
	fn := func(data []byte) []byte {
		if inside.Add(1) != 1 {
			t.Error("two functions at once")
		}
		mu.Lock()
		got = append(got, string(data))
		if len(got) == 2*each {
			close(all)
		}
		mu.Unlock()
		inside.Add(-1)
		return nil
	}
	for _, subject := range []string{"a.*", "b.>"} {
		stop, err := c.Subscribe(subject, fn)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range each {
		for _, subject := range []string{"a.1", "b.1.2"} {
			if err := from.Publish(subject, fmt.Appendf(nil, "%s %d", subject, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-all
	for i, msg := range got {
		want := fmt.Sprintf("a.1 %d", i/2)
		if i%2 == 1 {
			want = fmt.Sprintf("b.1.2 %d", i/2)
		}
		if msg != want {
			t.Fatalf("message %d is %q, want %q", i, msg, want)
		}
	}
}

// TestSubscribeStopWaits: after stop has returned the function does not run.
func TestSubscribeStopWaits(t *testing.T) {
	n := bustest.Node(t, nil)
	c := bustest.Connect(t, n)
	in, out := make(chan struct{}), make(chan struct{})
	var done atomic.Bool
	stop, err := c.Subscribe("x", func([]byte) []byte {
		close(in)
		<-out
		done.Store(true)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish("x", nil); err != nil {
		t.Fatal(err)
	}
	<-in
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("stop did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	close(out)
	<-stopped
	if !done.Load() {
		t.Error("stop returned while the function ran")
	}
}

func TestBadSubjects(t *testing.T) {
	n := bustest.Node(t, nil)
	c := bustest.Connect(t, n)
	for _, subject := range []string{"", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB x 0", "a.*", "a.>", "*", ">", strings.Repeat("x", bus.MaxSubject+1)} {
		if err := c.Publish(subject, nil); !errors.Is(err, bus.ErrBadSubject) {
			t.Errorf("Publish on %.40q: %v", subject, err)
		}
		if _, err := c.Request(t.Context(), subject, nil); !errors.Is(err, bus.ErrBadSubject) {
			t.Errorf("Request on %.40q: %v", subject, err)
		}
	}
	for _, subject := range []string{"", "a.>.b", "a..*", "a b"} {
		if _, err := c.Subscribe(subject, func([]byte) []byte { return nil }); !errors.Is(err, bus.ErrBadSubject) {
			t.Errorf("Subscribe to %q: %v", subject, err)
		}
		if _, err := c.Handle(subject, "q", func(context.Context, *bus.Message) {}, nil); !errors.Is(err, bus.ErrBadSubject) {
			t.Errorf("Handle %q: %v", subject, err)
		}
	}
	// The longest one goes through, with headers and a reply subject.
	long := strings.Repeat("x", bus.MaxSubject)
	stop, err := c.Subscribe(long, func([]byte) []byte { return []byte("ok") })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := c.Request(t.Context(), long, nil); err != nil {
		t.Errorf("a subject of %d bytes: %v", len(long), err)
	}
	if err := c.Publish("big", make([]byte, 2<<20)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("2 MiB: %v", err)
	}
}
