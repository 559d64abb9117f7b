package servers

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// agreeing is the pipe of a client that speaks both eras, as the SDK's does, to a server that is known to speak the legacy one alone. It answers the client's
// question for the modern one itself, with no: so the two speak what they have in common, in a session of their own, and nothing is translated.
type agreeing struct {
	wire.Pipe
	once    sync.Once
	refused chan json.RawMessage
}

// agree wraps a pipe to target where that is worth it.
func agree(pipe wire.Pipe, reg *registry.Registry, target wire.Target) wire.Pipe {
	if target.Group != "" {
		return pipe // its members may be of both eras
	}
	record, err := reg.Whereis(target.Name)
	if err != nil || record.Metadata[MetaEra] != string(Legacy) {
		return pipe
	}
	return &agreeing{Pipe: pipe, refused: make(chan json.RawMessage, 1)}
}

// Write refuses the first server/discover. Nothing else is looked at.
func (p *agreeing) Write(ctx context.Context, raw json.RawMessage) error {
	refused := false
	p.once.Do(func() {
		if m, err := wire.Scan(raw); err == nil && m.Request() && m.Method == "server/discover" {
			p.refused <- (&wire.Error{Code: -32601, Message: "the server speaks the legacy protocol alone"}).Response(m.ID())
			refused = true
		}
	})
	if refused {
		return nil
	}
	return p.Pipe.Write(ctx, raw)
}

// Read returns the refusal first: before it nothing else can come.
func (p *agreeing) Read(ctx context.Context) (json.RawMessage, error) {
	if p.refused == nil {
		return p.Pipe.Read(ctx)
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	type message struct {
		raw json.RawMessage
		err error
	}
	read := make(chan message, 1)
	go func() {
		raw, err := p.Pipe.Read(within)
		read <- message{raw, err}
	}()
	select {
	case raw := <-p.refused:
		p.refused = nil // one reader at a time
		cancel()
		<-read // nothing: the server was told nothing yet
		return raw, nil
	case m := <-read:
		p.refused = nil // the client has said something else first
		return m.raw, m.err
	}
}
