package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/toolbus/toolbus/servers/wire"
)

// fakeBus is a far side without a bus: one server, called weather, whose sessions keep all that they ever said.
type fakeBus struct {
	// answer says what the server says to a request: the last message answers it. It may wait for ctx, which ends when the request is cancelled.
	answer func(ctx context.Context, m wire.Message) []string

	mu        sync.Mutex
	sessions  map[string]*fakeSession
	got       []string // what came without wanting an answer
	cancelled int
	asked     map[string]int // requests by method
	ill       atomic.Bool
}

func newFakeBus() *fakeBus {
	return &fakeBus{sessions: map[string]*fakeSession{}, asked: map[string]int{}, answer: echo}
}

// echo answers everything with its own method.
func echo(_ context.Context, m wire.Message) []string {
	return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"method":%q}}`, m.ID(), m.Method)}
}

func (b *fakeBus) request(ctx context.Context, t wire.Target, msg json.RawMessage) (stream, error) {
	if !served(t.Name) {
		return nil, wire.NewError(wire.CodeNoName, "no server is registered as "+t.Name, wire.Facts{Name: t.Name})
	}
	s := newFakeStream("r0")
	b.serve(s, msg)
	return &fakeReader{stream: s, cancels: true}, nil
}

func served(name string) bool {
	return name == "weather" || name == manyName("x1", "") || name == manyName("x1", "some")
}

func (b *fakeBus) serve(s *fakeStream, msg json.RawMessage) {
	m, err := wire.Scan(msg)
	if err != nil {
		panic(err)
	}
	b.mu.Lock()
	b.asked[m.Method]++
	answer := b.answer
	b.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = func() {
		b.mu.Lock()
		b.cancelled++
		b.mu.Unlock()
		cancel()
	}
	go func() {
		defer cancel()
		said := answer(ctx, m)
		for i, one := range said {
			s.put(event{msg: json.RawMessage(one), last: i == len(said)-1})
		}
	}()
}

func (b *fakeBus) open(_ context.Context, t wire.Target, initialize json.RawMessage) (json.RawMessage, string, error) {
	if !served(t.Name) {
		return nil, "", wire.NewError(wire.CodeNoName, "no server is registered as "+t.Name, wire.Facts{Name: t.Name})
	}
	m, err := wire.Scan(initialize)
	if err != nil {
		return nil, "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := "instance.s" + strconv.Itoa(len(b.sessions))
	b.sessions[id] = &fakeSession{name: t.Name, bus: b, down: newFakeStream("d"), streams: map[string]*fakeStream{}}
	return json.RawMessage(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}`, m.ID())), id, nil
}

func (b *fakeBus) session(t wire.Target, id string) (session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[id]
	if s == nil || s.name != t.Name {
		return nil, wire.ErrNoSession
	}
	return s, nil
}

// many lets the one server stand for the group called some, and for all.
func (b *fakeBus) many(_ context.Context, group string) (wire.Target, error) {
	if group != "" && group != "some" {
		return wire.Target{}, wire.NewError(wire.CodeNoName, "no server is in group "+group, wire.Facts{Group: group})
	}
	return wire.Target{Name: manyName("x1", group)}, nil
}

func (b *fakeBus) healthy() bool { return !b.ill.Load() }

func (b *fakeBus) close() error { return nil }

type fakeSession struct {
	name    string
	bus     *fakeBus
	down    *fakeStream
	mu      sync.Mutex
	streams map[string]*fakeStream
	ended   bool
}

func (s *fakeSession) request(_ context.Context, msg json.RawMessage) (stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, wire.ErrNoSession
	}
	one := newFakeStream("r" + strconv.Itoa(len(s.streams)+1))
	s.streams[one.name] = one
	s.bus.serve(one, msg)
	return &fakeReader{stream: one}, nil
}

func (s *fakeSession) send(_ context.Context, msg json.RawMessage) error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.got = append(s.bus.got, string(msg))
	return nil
}

func (s *fakeSession) listen(context.Context) (stream, error) {
	return &fakeReader{stream: s.down}, nil
}

func (s *fakeSession) resume(_ context.Context, id string) (stream, error) {
	name, number, _ := strings.Cut(id, ":")
	at, err := strconv.Atoi(number)
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.streams[name]
	if name == "d" {
		one = s.down
	}
	if one == nil || err != nil {
		return nil, errors.New("no such stream")
	}
	return &fakeReader{stream: one, next: at}, nil
}

func (s *fakeSession) close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	for id, one := range s.bus.sessions {
		if one == s {
			delete(s.bus.sessions, id)
		}
	}
	return nil
}

// fakeStream keeps every event.
type fakeStream struct {
	name   string
	cancel func()
	mu     sync.Mutex
	events []event
	more   chan struct{} // closed and made anew with each event
}

func newFakeStream(name string) *fakeStream {
	return &fakeStream{name: name, more: make(chan struct{})}
}

func (s *fakeStream) put(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.id = fmt.Sprintf("%s:%d", s.name, len(s.events)+1)
	s.events = append(s.events, e)
	close(s.more)
	s.more = make(chan struct{})
}

type fakeReader struct {
	stream  *fakeStream
	next    int
	ended   bool
	cancels bool
}

func (r *fakeReader) read(ctx context.Context) (event, error) {
	if r.ended {
		return event{}, io.EOF
	}
	for {
		r.stream.mu.Lock()
		events, more := r.stream.events, r.stream.more
		r.stream.mu.Unlock()
		if r.next < len(events) {
			r.next++
			r.ended = events[r.next-1].last
			return events[r.next-1], nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return event{}, ctx.Err()
		}
	}
}

func (r *fakeReader) position() string { return fmt.Sprintf("%s:%d", r.stream.name, r.next) }

func (r *fakeReader) start() string { return r.stream.name + ":0" }

func (r *fakeReader) close() {
	if r.cancels && !r.ended {
		r.stream.cancel()
	}
}

// until waits for something that another goroutine does.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-tick():
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
