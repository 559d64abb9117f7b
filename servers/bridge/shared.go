package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/toolbus/toolbus/servers/wire"
)

// errRested: the child was ended because nobody used it. It comes again.
var errRested = errors.New("bridge: the child was ended as it was idle")

// shared is the conversation of all requests without a session: a wire.Pipe to the first child, whichever that is. It goes on from child to child: the
// requests that one took with it are answered with how it ended.
type shared struct {
	s      *Stdio
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	port  *port         // nil: no child yet
	life  *life         // whose it is
	moved chan struct{} // closed when port has changed
	owed  []json.RawMessage
}

func newShared(s *Stdio) *shared {
	return &shared{s: s, closed: make(chan struct{}), moved: make(chan struct{})}
}

// at is the child that is spoken with now.
func (p *shared) at() (*port, *life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.port, p.life
}

// move has another child, or none, be spoken with. p.mu is held.
func (p *shared) move(port *port, l *life) {
	p.port, p.life = port, l
	close(p.moved)
	p.moved = make(chan struct{})
}

// Write gives a message to the child, and waits for one where none is there. A message that finds none in time is refused alone: no child has seen it.
func (p *shared) Write(ctx context.Context, msg json.RawMessage) error {
	for {
		port, l, err := p.enter(ctx)
		if err != nil {
			return err
		}
		switch err = port.Write(ctx, msg); {
		case errors.Is(err, errRested):
		case !errors.Is(err, ErrExited):
			return err
		case !p.s.another(l):
			return p.s.absent(err)
		}
		p.leave(port, err)
	}
}

// enter is the port of the child that is there, or comes in time.
func (p *shared) enter(ctx context.Context) (*port, *life, error) {
	for {
		select {
		case <-p.closed:
			return nil, nil, io.ErrClosedPipe
		default:
		}
		if port, l := p.at(); port != nil {
			return port, l, nil
		}
		l, err := p.s.await(ctx, p.closed)
		if err != nil {
			return nil, nil, err
		}
		p.take(l)
	}
}

// take makes a life's child the one that is spoken with.
func (p *shared) take(l *life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.port != nil {
		return
	}
	port := l.mux.open(false)
	if port == nil {
		return // ended meanwhile: another comes
	}
	p.move(port, l)
	select {
	case <-p.closed:
		port.Close()
	default:
	}
}

// Read waits for a message of the child, or for the end of the last one.
func (p *shared) Read(ctx context.Context) (json.RawMessage, error) {
	for {
		p.mu.Lock()
		if len(p.owed) > 0 {
			msg := p.owed[0]
			p.owed = p.owed[1:]
			p.mu.Unlock()
			return msg, nil
		}
		port, l, moved := p.port, p.life, p.moved
		p.mu.Unlock()
		if port != nil {
			msg, err := port.Read(ctx)
			switch {
			case errors.Is(err, errRested):
			case !errors.Is(err, ErrExited):
				return msg, err
			case !p.s.another(l):
				return nil, err
			}
			p.leave(port, err)
			continue
		}
		select {
		case <-moved:
		case <-p.closed:
			return nil, io.ErrClosedPipe
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.s.over:
			return nil, p.s.Err()
		}
	}
}

// leave leaves a child that has ended. What it has said is still read, and the requests that it had are answered.
func (p *shared) leave(port *port, why error) {
	<-port.m.done
	orphans := port.orphans()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.port == port {
		p.move(nil, nil)
	}
	for said := true; said; {
		select {
		case msg := <-port.in:
			p.owed = append(p.owed, msg)
		default:
			said = false
		}
	}
	for _, id := range orphans {
		facts := wire.Facts{Why: why.Error(), Executed: "unknown"}
		p.owed = append(p.owed, wire.NewError(wire.CodeBackend, "the server ended: "+why.Error(), facts).Response(id))
	}
}

// Close ends the conversation, and leaves the child as it is.
func (p *shared) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.port != nil {
			p.port.Close()
		}
	})
	return nil
}
