package shim_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/shim"
	"github.com/toolbus/toolbus/servers/wire"
)

func TestMain(m *testing.M) { bustest.Main(m, nil) }

// fakeBus gives out the servers' ends of its conversations, one for each Dial. While it is empty nobody has the name.
type fakeBus struct {
	mu                  sync.Mutex
	there               bool
	changed             chan struct{}
	dialled, translated chan wire.Pipe
}

func newFakeBus(there bool) *fakeBus {
	return &fakeBus{there: there, changed: make(chan struct{}), dialled: make(chan wire.Pipe, 16), translated: make(chan wire.Pipe, 16)}
}

func (b *fakeBus) set(there bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.there = there
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *fakeBus) Await(ctx context.Context) error {
	for {
		b.mu.Lock()
		there, changed := b.there, b.changed
		b.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *fakeBus) Dial() (wire.Pipe, error) {
	ours, theirs := wire.Pair()
	b.dialled <- theirs
	return ours, nil
}

func (b *fakeBus) Translated() (wire.Pipe, error) {
	ours, theirs := wire.Pair()
	b.translated <- theirs
	return ours, nil
}

func (b *fakeBus) Missing() *wire.Error {
	return wire.NewError(wire.CodeNoName, "no server is registered as fake", wire.Facts{Name: "fake"})
}

// server returns the server's end of the next conversation.
func (b *fakeBus) server(t *testing.T) *peer {
	t.Helper()
	select {
	case pipe := <-b.dialled:
		t.Cleanup(func() { pipe.Close() })
		return &peer{t, pipe}
	case <-bustest.Context(t).Done():
		t.Fatal("the shim made no conversation")
		return nil
	}
}

// peer is one end of a conversation, typed by hand.
type peer struct {
	t    *testing.T
	pipe wire.Pipe
}

func (p *peer) say(text string) {
	p.t.Helper()
	if err := p.pipe.Write(bustest.Context(p.t), json.RawMessage(text)); err != nil {
		p.t.Fatal(err)
	}
}

// hear expects exactly that message.
func (p *peer) hear(want string) {
	p.t.Helper()
	raw, err := p.pipe.Read(bustest.Context(p.t))
	if err != nil || string(raw) != want {
		p.t.Fatalf("heard %s, %v; not %s", raw, err, want)
	}
}

// hearPart expects a message with these parts in it, and returns it.
func (p *peer) hearPart(parts ...string) string {
	p.t.Helper()
	raw, err := p.pipe.Read(bustest.Context(p.t))
	for _, part := range parts {
		if err != nil || !strings.Contains(string(raw), part) {
			p.t.Fatalf("heard %s, %v; not %s", raw, err, part)
		}
	}
	return string(raw)
}

// client is a process that started the shim: what it writes, and what it reads.
type client struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan string
	ended chan error
}

// start runs a shim for a client that reads at once.
func start(t *testing.T, b shim.Bus, opts *shim.Options) *client {
	t.Helper()
	c, out := startUnread(t, b, opts)
	go func() {
		defer close(c.lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			c.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	return c
}

// startUnread runs one for a client that does not read by itself.
func startUnread(t *testing.T, b shim.Bus, opts *shim.Options) (*client, io.Reader) {
	t.Helper()
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	c := &client{t: t, in: inWrite, lines: make(chan string, 1024), ended: make(chan error, 1)}
	go func() {
		c.ended <- shim.Run(t.Context(), inRead, outWrite, b, opts)
		outWrite.Close()
	}()
	t.Cleanup(func() { inWrite.Close(); outRead.Close() })
	return c, outRead
}

func (c *client) say(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(c.in, line+"\n"); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *client) next() string {
	c.t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatal("the shim has ended")
		}
		if !json.Valid([]byte(line)) {
			c.t.Errorf("no JSON on stdout: %q", line)
		}
		return line
	case <-bustest.Context(c.t).Done():
		c.t.Fatal("the shim said nothing")
		return ""
	}
}

func (c *client) hear(want string) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Fatalf("heard %s, not %s", got, want)
	}
}

func (c *client) hearPart(parts ...string) string {
	c.t.Helper()
	got := c.next()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			c.t.Fatalf("heard %s, not %s", got, part)
		}
	}
	return got
}

// close closes the client's side, and returns how the shim ended.
func (c *client) close() error {
	c.t.Helper()
	c.in.Close()
	return c.end()
}

func (c *client) end() error {
	c.t.Helper()
	select {
	case err := <-c.ended:
		return err
	case <-bustest.Context(c.t).Done():
		return errors.New("the shim did not end")
	}
}

const (
	hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true}},"clientInfo":{"name":"c","version":"1"},"unknown":12345678901234567890}}`
	ready = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

func welcome(id, version string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":{"protocolVersion":"` + version + `","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}}`
}

// open makes a legacy session of the version.
func open(t *testing.T, b *fakeBus, c *client, version string) *peer {
	t.Helper()
	c.say(hello)
	s := b.server(t)
	s.hear(hello)
	s.say(welcome("0", version))
	c.hear(welcome("0", version))
	c.say(ready)
	s.hear(ready)
	return s
}

// readSoon is what the server hears within a short while.
func readSoon(p *peer) (string, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Millisecond)
	defer cancel()
	raw, err := p.pipe.Read(ctx)
	return string(raw), err
}
