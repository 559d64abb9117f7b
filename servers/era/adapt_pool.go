package era

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// use is how a request shares a conversation with others. A legacy server that asks something does not say for which call: so a call of a client
// that can be asked has a conversation to itself, and what is asked can only be for it.
type use int

const (
	light use = iota // lists and the like: nothing is asked for them, any conversation will do
	heavy            // a call of a client that cannot be asked: shares with its like
	alone            // a call of a client that can be asked, or that wants the server's log
)

// pool is the conversations in which the server believes to speak to a client with one set of capabilities.
type pool struct {
	key     string
	links   []*link // the oldest first: it is used first, so that what one call changes the next one finds
	opening int
	listens map[*listen]struct{}
}

// poolOf returns the pool for a client's capabilities. a.mu is held.
func (a *Adapter) poolOf(capabilities json.RawMessage) *pool {
	key := ""
	if o := parse(capabilities); len(o) > 0 {
		key = canonical(capabilities)
	}
	p := a.pools[key]
	if p == nil {
		p = &pool{key: key, listens: map[*listen]struct{}{}}
		a.pools[key] = p
	}
	return p
}

// take finds a conversation for a call, or opens one, or waits for one. The error is a *wire.Error where the call has to be answered by it.
func (a *Adapter) take(ctx context.Context, c *call, capabilities, client json.RawMessage) error {
	patience := time.NewTimer(a.opts.Patience)
	defer patience.Stop()
	for {
		a.mu.Lock()
		if a.closed {
			a.mu.Unlock()
			return wire.ErrClosed
		}
		p := a.poolOf(capabilities)
		for _, l := range p.links {
			if l.takes(c.use) {
				l.add(c)
				a.mu.Unlock()
				return nil
			}
		}
		lend := p.key == "" && !slices.ContainsFunc(p.links, func(l *link) bool { return l.lent })
		if p.opening == 0 || c.use == alone && !lend {
			if lend || a.links < a.opts.MaxLinks {
				p.opening++
				if !lend {
					a.links++
				}
				a.mu.Unlock()
				err := a.open(ctx, p, lend, capabilities, client)
				if err == nil {
					continue // it may be somebody else's by now
				}
				if !errors.Is(err, wire.ErrBusy) || !a.await(ctx, p, c.use, patience.C) {
					return err
				}
				continue
			}
			if idle := a.idle(); idle != nil {
				a.mu.Unlock()
				idle.endIf(idle.unused, errIdle)
				continue
			}
		}
		freed := a.freed
		a.mu.Unlock()
		select {
		case <-freed:
		case <-patience.C:
			return wire.NewError(wire.CodeBusy, fmt.Sprintf("the server has its %d conversations, and all of them are in use", a.opts.MaxLinks), wire.Facts{})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// await waits for a link of a pool to become free, where the backend gives no other one. It is false when there is none to wait for, or too long.
func (a *Adapter) await(ctx context.Context, p *pool, u use, patience <-chan time.Time) bool {
	a.mu.Lock()
	freed, none := a.freed, len(p.links) == 0
	free := slices.ContainsFunc(p.links, func(l *link) bool { return l.takes(u) })
	a.mu.Unlock()
	if none || free {
		return free
	}
	select {
	case <-freed:
		return true
	case <-patience:
	case <-ctx.Done():
	}
	return false
}

var errIdle = errors.New("era: the conversation was not used any more")

// idle is a conversation that nobody uses, nil if there is none. a.mu is held.
func (a *Adapter) idle() *link {
	for _, p := range a.pools {
		for _, l := range p.links {
			if !l.lent && l.unused() {
				return l
			}
		}
	}
	return nil
}

// open adds a link to a pool. lend says that it is the one that the backend has said initialize on by itself.
func (a *Adapter) open(ctx context.Context, p *pool, lend bool, capabilities, client json.RawMessage) error {
	l, err := a.connect(ctx, lend, capabilities, client)
	a.mu.Lock()
	p.opening--
	counted := !lend
	if err == nil && lend && !l.lent { // the backend has none to lend: this one is like any other
		a.links++
		counted = true
	}
	switch {
	case err != nil && counted:
		a.links--
	case err == nil && a.closed:
		err = wire.ErrClosed
		_ = l.pipe.Close() // nobody has used it
	case err == nil:
		l.pool = p
		p.links = append(p.links, l)
		a.work.Go(l.read)
	}
	a.wake()
	a.mu.Unlock()
	return err
}

// wake lets those who wait for a link look again. a.mu is held.
func (a *Adapter) wake() {
	close(a.freed)
	a.freed = make(chan struct{})
}

// connect makes a conversation with the server and says what a legacy client has to say first.
func (a *Adapter) connect(ctx context.Context, lend bool, capabilities, client json.RawMessage) (*link, error) {
	l := &link{a: a, calls: map[string]*call{}, subscribed: map[string]int{}, listens: map[*listen]struct{}{}, level: -1}
	if lend {
		if l.pipe = a.backend.Shared(); l.pipe != nil {
			l.lent = true
			return l, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	var err error
	if l.pipe, err = a.backend.Open(ctx); err != nil {
		return nil, startError(err)
	}
	if err := l.handshake(ctx, capabilities, client); err != nil {
		_ = l.pipe.Close() // it has failed already
		return nil, startError(err)
	}
	return l, nil
}

func startError(err error) error {
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return refused
	}
	return wire.NewError(wire.CodeBackend, "the server could not be started: "+err.Error(), wire.Facts{Executed: "no", Why: err.Error()})
}

// handshake says initialize, and waits until the server has said what it says then. What it asks now is for no call, and refused: an answer
// (the roots of one client, say) would stay in a conversation that others use too.
func (l *link) handshake(ctx context.Context, capabilities, client json.RawMessage) error {
	if !isObject(capabilities) {
		capabilities = json.RawMessage("{}")
	}
	if client == nil {
		client = json.RawMessage(`{"name":"toolbus","version":"` + wire.Version + `"}`)
	}
	params := object{}.set("protocolVersion", quote(l.a.said.Load().version)).set("capabilities", capabilities).set("clientInfo", client)
	answer, err := l.ask(ctx, quote("era-initialize"), methodInitialize, params.raw())
	if err != nil {
		return err
	}
	if failure := answer.get("error"); failure != nil {
		refused := &wire.Error{}
		if json.Unmarshal(failure, refused) != nil {
			return fmt.Errorf("era: initialize was refused: %.200s", failure)
		}
		return fmt.Errorf("era: initialize was refused: %s", refused.Message)
	}
	if err := l.pipe.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"`+methodInitialized+`"}`)); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, pingFor)
	defer cancel()
	if _, err := l.ask(soon, quote("era-ping"), methodPing, nil); err != nil && soon.Err() == nil {
		return err // a server that does not answer a ping is not ended for it
	}
	return nil
}

// ask sends a request on a conversation that nobody else reads yet, and waits for the answer.
func (l *link) ask(ctx context.Context, id json.RawMessage, method string, params json.RawMessage) (object, error) {
	if err := l.pipe.Write(ctx, request(id, method, params)); err != nil {
		return nil, err
	}
	for {
		raw, err := l.pipe.Read(ctx)
		if err != nil {
			return nil, err
		}
		m, err := wire.Scan(raw)
		switch {
		case err != nil:
		case m.Request():
			if err := l.pipe.Write(ctx, wire.Unattended(m)); err != nil {
				return nil, err
			}
		case m.Response() && string(m.ID()) == string(id):
			return parse(raw), nil
		}
	}
}

// randomToken is 128 random bits as one token.
func randomToken() string {
	b := randomBytes()
	return hex.EncodeToString(b[:])
}

func randomBytes() (b [16]byte) {
	_, _ = rand.Read(b[:]) // never fails
	return b
}
