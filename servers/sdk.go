package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers/wire"
)

// codeRejected is the one error of a Write after which the SDK fails that call and not the whole session.
const codeRejected = -32005

// pipeTransport is an mcp.Transport over one end of a pipe. Messages are bytes up to here; the SDK's codec sees them here only.
type pipeTransport struct {
	pipe wire.Pipe
	id   string
}

func (t *pipeTransport) Connect(context.Context) (mcp.Connection, error) {
	return &connection{pipe: t.pipe, id: t.id}, nil
}

type connection struct {
	pipe wire.Pipe
	id   string
}

// Read returns the next message. What the SDK cannot decode it never sees, because an error here would end its session: a request is answered,
// anything else skipped.
func (c *connection) Read(ctx context.Context) (jsonrpc.Message, error) {
	for {
		raw, err := c.pipe.Read(ctx)
		if err != nil {
			return nil, err
		}
		msg, err := jsonrpc.DecodeMessage(raw)
		if err == nil {
			return msg, nil
		}
		if m, scanErr := wire.Scan(raw); scanErr == nil && m.Request() {
			answer := (&wire.Error{Code: jsonrpc.CodeInvalidRequest, Message: err.Error()}).Response(m.ID())
			if err := c.pipe.Write(ctx, answer); err != nil {
				return nil, err
			}
		}
	}
}

// Write sends one message. A message that cannot be carried fails alone.
func (c *connection) Write(ctx context.Context, msg jsonrpc.Message) error {
	raw, err := jsonrpc.EncodeMessage(msg)
	if err != nil {
		return fmt.Errorf("%w: %v", &jsonrpc.Error{Code: codeRejected, Message: "not to be encoded"}, err)
	}
	err = c.pipe.Write(ctx, raw)
	if refusal, ok := errors.AsType[*wire.Error](err); ok {
		return fmt.Errorf("%w: %w", &jsonrpc.Error{Code: codeRejected, Message: refusal.Message}, refusal)
	}
	return err
}

func (c *connection) Close() error { return c.pipe.Close() }

func (c *connection) SessionID() string { return c.id }

// backend serves an SDK server: one SDK connection for each legacy client, and one for each modern request. The SDK keeps the first
// caller's capabilities, drops a second request with the same id and feeds only the last of several listens, all without a word: so no two callers
// ever share a connection, and whatever is said on one belongs to its request.
type backend struct {
	server *mcp.Server
	modern atomic.Bool // it answers without a session
}

// Shared is never used: see Single.
func (b *backend) Shared() wire.Pipe { return nil }

// Open connects a fresh session of the server.
func (b *backend) Open(ctx context.Context) (wire.Pipe, error) {
	ours, theirs := wire.Pair()
	if _, err := b.server.Connect(context.WithoutCancel(ctx), &pipeTransport{pipe: theirs}, nil); err != nil {
		return nil, err
	}
	return ours, nil
}

// Single connects one for a single request. A legacy server is initialized first, in the name of a client that can do nothing.
func (b *backend) Single(ctx context.Context) (wire.Pipe, error) {
	pipe, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	if b.modern.Load() {
		return &bare{Pipe: pipe, version: ModernVersion}, nil
	}
	if _, err := handshake(ctx, pipe); err != nil {
		_ = pipe.Close()
		return nil, err
	}
	return pipe, nil
}

// bare fills in what a request without _meta lacks, so that one typed by hand is understood.
type bare struct {
	wire.Pipe
	version string
}

func (p *bare) Write(ctx context.Context, raw json.RawMessage) error {
	if m, err := wire.Scan(raw); err == nil && m.Request() && m.Version == "" {
		raw = m.WithMeta(p.version)
	}
	return p.Pipe.Write(ctx, raw)
}

// Describe asks the server what it is, in this process: by server/discover, else by initialize.
func (b *backend) Describe(ctx context.Context) (Info, error) {
	pipe, err := b.Open(ctx)
	if err != nil {
		return Info{}, err
	}
	defer pipe.Close()
	m, err := wire.Scan(json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"server/discover"}`))
	if err != nil {
		return Info{}, err
	}
	result, err := roundTrip(ctx, pipe, m.WithMeta(ModernVersion))
	if err == nil {
		if info, ok := ReadDiscover(result); ok {
			b.modern.Store(true)
			return info, nil
		}
	} else if _, refused := errors.AsType[*wire.Error](err); !refused {
		return Info{}, err
	}
	_ = pipe.Close() // the era of a connection is what it heard first
	pipe, err = b.Open(ctx)
	if err != nil {
		return Info{}, err
	}
	defer pipe.Close()
	return handshake(ctx, pipe)
}

// Changes tells of each notice that the server's tools, resources or prompts are others now, until ctx ends. The notices go to legacy sessions alone,
// so it keeps one, of a client that can do nothing. An error says that there are no notices to be had.
func (b *backend) Changes(ctx context.Context, changed chan<- struct{}) error {
	pipe, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer pipe.Close()
	if _, err := handshake(ctx, pipe); err != nil {
		return err
	}
	for {
		raw, err := pipe.Read(ctx)
		if err != nil {
			return err
		}
		switch m, err := wire.Scan(raw); {
		case err != nil:
		case m.Request():
			_ = pipe.Write(ctx, wire.Unattended(m)) // Read sees the end
		case strings.HasSuffix(m.Method, "/list_changed"):
			select {
			case changed <- struct{}{}:
			default: // one is enough
			}
		}
	}
}

// handshake says initialize and initialized.
func handshake(ctx context.Context, pipe wire.Pipe) (Info, error) {
	result, err := roundTrip(ctx, pipe, json.RawMessage(`{"jsonrpc":"2.0","id":"toolbus","method":"initialize","params":{"protocolVersion":"`+LegacyVersion+
		`","capabilities":{},"clientInfo":{"name":"toolbus","version":"`+wire.Version+`"}}}`))
	if err != nil {
		return Info{}, err
	}
	info, err := ReadInitialize(result)
	if err != nil {
		return Info{}, err
	}
	return info, pipe.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
}

// roundTrip sends one request and waits for its response.
func roundTrip(ctx context.Context, pipe wire.Pipe, request json.RawMessage) (json.RawMessage, error) {
	if err := pipe.Write(ctx, request); err != nil {
		return nil, err
	}
	for {
		raw, err := pipe.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("servers: the server did not answer: %w", err)
		}
		var r struct {
			ID     json.RawMessage
			Result json.RawMessage
			Error  *wire.Error
		}
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("servers: the server's answer: %w", err)
		}
		if r.Error != nil {
			return nil, r.Error
		}
		if r.Result != nil {
			return r.Result, nil
		}
	}
}
