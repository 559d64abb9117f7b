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
func (p *shared) at() (*port, *life, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.port, p.life, p.moved
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
		port, moved, err := p.enter(ctx)
		if err != nil {
			return err
		}
		err = port.Write(ctx, msg)
		if !errors.Is(err, errRested) && !errors.Is(err, ErrExited) {
			return err
		}
		select { // until Read has seen the end
		case <-moved:
		case <-p.closed:
			return io.ErrClosedPipe
		case <-p.s.over:
			return p.s.absent(p.s.Err())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enter is the port of the child that is there, or comes in time.
func (p *shared) enter(ctx context.Context) (*port, <-chan struct{}, error) {
	for {
		select {
		case <-p.closed:
			return nil, nil, io.ErrClosedPipe
		default:
		}
		if port, _, moved := p.at(); port != nil {
			return port, moved, nil
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
		p.mu.Unlock()
		port, l, moved := p.at()
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

// leave leaves a child that has ended. The requests that it had are answered.
func (p *shared) leave(port *port, why error) {
	orphans := port.orphans()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range orphans {
		facts := wire.Facts{Why: why.Error(), Executed: "unknown"}
		p.owed = append(p.owed, wire.NewError(wire.CodeBackend, "the server ended: "+why.Error(), facts).Response(id))
	}
	if p.port == port {
		p.move(nil, nil)
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
