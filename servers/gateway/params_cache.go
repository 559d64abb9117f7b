package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

const (
	rulesFresh   = 10 * time.Second       // how long the rules of a server are believed without asking again
	rulesSettled = 500 * time.Millisecond // rules at least this old are read again before a call is refused by them
	rulesWait    = 10 * time.Second       // how long a server may take to list its tools
	rulesKept    = 1024                   // servers whose rules are remembered
)

// paramRules knows which arguments of which tools stand in headers. It asks the servers themselves, each at most once in rulesFresh.
type paramRules struct {
	far   far
	now   func() time.Time
	spawn func(func(ctx context.Context)) bool // on a goroutine with an owner

	mu     sync.Mutex
	cached map[wire.Target]*toolRules
}

// toolRules is one answer of one server, or the asking for it.
type toolRules struct {
	ready chan struct{} // closed once the rest stands
	at    time.Time     // when it was asked
	rules map[string][]paramRule
	err   error
}

func newParamRules(far far, spawn func(func(ctx context.Context)) bool) *paramRules {
	return &paramRules{far: far, now: time.Now, spawn: spawn, cached: map[wire.Target]*toolRules{}}
}

// check tells what is wrong with the Mcp-Param headers of a call. The error is the bus's: the server could not be asked, so nothing can be said of the call.
func (p *paramRules) check(ctx context.Context, at wire.Target, h http.Header, m wire.Message) (code int, why string, err error) {
	tool, err := m.Target()
	if err != nil {
		return codeInvalidRequest, err.Error(), nil
	}
	known, asked, err := p.of(ctx, at, m.Version, rulesFresh)
	if err != nil {
		return 0, "", err
	}
	rules, listed := known[tool]
	why = broken(rules, h, m.Raw)
	if (why != "" || !listed) && p.now().Sub(asked) > rulesSettled { // the tool may have come or changed since
		if known, _, err = p.of(ctx, at, m.Version, rulesSettled); err != nil {
			return 0, "", err
		}
		why = broken(known[tool], h, m.Raw)
	}
	if why != "" {
		return codeHeaderMismatch, why, nil
	}
	return 0, "", nil
}

// of returns the rules of a server's tools, as the server had them at most maxAge ago.
func (p *paramRules) of(ctx context.Context, at wire.Target, version string, maxAge time.Duration) (map[string][]paramRule, time.Time, error) {
	p.mu.Lock()
	c := p.cached[at]
	if c == nil || p.now().Sub(c.at) > maxAge {
		if len(p.cached) >= rulesKept {
			clear(p.cached)
		}
		c = &toolRules{ready: make(chan struct{}), at: p.now()}
		p.cached[at] = c
		if !p.spawn(func(ctx context.Context) { p.ask(ctx, c, at, version) }) { // not ctx's: others may wait for it when this request is gone
			delete(p.cached, at)
			p.mu.Unlock()
			return nil, c.at, wire.ErrClosed
		}
	}
	p.mu.Unlock()
	select {
	case <-c.ready:
	case <-ctx.Done():
		return nil, c.at, ctx.Err()
	}
	return c.rules, c.at, c.err
}

func (p *paramRules) ask(ctx context.Context, c *toolRules, at wire.Target, version string) {
	ctx, cancel := context.WithTimeout(ctx, rulesWait)
	defer cancel()
	c.rules, c.err = listTools(ctx, p.far, at, version)
	if e, ok := errors.AsType[*wire.Error](c.err); ok && !e.Known() {
		c.err = nil // the server lists no tools, so none of them wants a header
	}
	if c.err != nil {
		p.mu.Lock()
		if p.cached[at] == c {
			delete(p.cached, at)
		}
		p.mu.Unlock()
	}
	close(c.ready)
}
