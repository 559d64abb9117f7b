package era

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// link is one conversation with the legacy server, after its handshake. The Adapter's lock guards it.
type link struct {
	a    *Adapter
	pipe wire.Pipe
	pool *pool
	lent bool // the one of Backend.Shared

	next       uint64
	calls      map[string]*call // by the id that the server knows
	heavies    int
	holder     *call // the one that has it alone
	cooling    int   // calls that were cancelled a moment ago
	tainted    bool  // the server knows the roots of one client now: no other client's call comes here
	level      int   // the log level that the server was told
	subscribed map[string]int
	listens    map[*listen]struct{}
	timer      *time.Timer // until it has been unused for too long
	dead       bool
}

// takes tells whether a request may come in.
func (l *link) takes(u use) bool {
	switch {
	case l.dead || l.tainted:
		return false
	case u == light:
		return true
	case u == heavy:
		return l.holder == nil && l.cooling == 0
	}
	return l.holder == nil && l.cooling == 0 && l.heavies == 0
}

func (l *link) unused() bool {
	return len(l.calls) == 0 && len(l.listens) == 0 && l.cooling == 0 && !l.dead
}

func (l *link) add(c *call) {
	l.next++
	c.link, c.id = l, quote("e"+strconv.FormatUint(l.next, 10))
	l.calls[string(c.id)] = c
	if c.use != light {
		l.heavies++
	}
	if c.use == alone {
		l.holder = c
	}
	if l.timer != nil {
		l.timer.Stop()
	}
}

// release takes a call out of its link. cool keeps the link from the next one for a while.
func (a *Adapter) release(c *call, cool time.Duration) {
	l := c.link
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.calls[string(c.id)] != c {
		return
	}
	delete(l.calls, string(c.id))
	if c.use != light {
		l.heavies--
	}
	if l.holder == c {
		l.holder = nil
	}
	if cool > 0 && c.use == alone {
		l.cooling++
		time.AfterFunc(cool, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			l.cooling--
			l.rest()
		})
	}
	l.rest()
}

// rest looks what becomes of a link that may have nothing to do. a.mu is held.
func (l *link) rest() {
	l.a.wake()
	if !l.unused() || l.lent || l.a.closed {
		return
	}
	after := l.a.opts.Idle
	if l.tainted {
		after = 0
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(after, func() {
		l.endIf(l.unused, errIdle)
	})
}

// read carries what the server says to where it belongs, until the conversation ends.
func (l *link) read() {
	for {
		raw, err := l.pipe.Read(l.a.ctx)
		if err != nil {
			if l.a.ctx.Err() != nil {
				err = wire.ErrClosed
			}
			l.end(err)
			return
		}
		m, err := wire.Scan(raw)
		if err != nil {
			l.a.log.Warn("the server said what is no message", "err", err, "bytes", len(raw))
			continue
		}
		l.route(m)
	}
}

func (l *link) route(m wire.Message) {
	switch {
	case m.Response():
		id := m.ID()
		l.a.mu.Lock()
		c := l.calls[string(id)]
		l.a.mu.Unlock()
		if c != nil {
			c.answered(m)
		}
	case m.Request():
		l.asked(m)
	case m.Notification():
		l.told(m)
	}
}

// asked takes a request of the server's. It belongs to the one call that can be asked, or to nobody.
func (l *link) asked(m wire.Message) {
	params := parse(m.Raw).get("params")
	l.a.mu.Lock()
	c := l.holder
	l.a.mu.Unlock()
	if c == nil || !c.can.can(m.Method, params) || !c.asked(m, params) {
		_ = l.pipe.Write(l.a.ctx, wire.Unattended(m)) // the reader sees an ended pipe
	}
}

// told takes a notification.
func (l *link) told(m wire.Message) {
	a := l.a
	switch {
	case m.Method == methodProgress:
		token := m.At(wire.PlaceProgress)
		a.mu.Lock()
		defer a.mu.Unlock()
		if c := l.calls[string(token)]; c != nil {
			c.notify(m)
		}
	case m.Method == methodMessage:
		a.mu.Lock()
		defer a.mu.Unlock()
		if c := l.holder; c != nil {
			c.notify(m)
		}
	case m.Method == methodCancelled:
		a.mu.Lock()
		defer a.mu.Unlock()
		if c := l.holder; c != nil {
			c.withdrawn(m.At(wire.PlaceCancelled))
		}
	case m.Method == methodUpdated, strings.HasSuffix(m.Method, "/list_changed"):
		l.changed(m)
	case m.Method == methodElicited: // modern clients see the end of it by the retry
	default:
		a.mu.Lock()
		defer a.mu.Unlock()
		if c := l.holder; c != nil {
			c.notify(m)
		}
	}
}

// setLevel tells the server what to log. A server without logging refuses; then there is nothing to be had.
func (l *link) setLevel(ctx context.Context, level int) {
	l.a.mu.Lock()
	same := l.level == level
	l.level = level
	l.a.mu.Unlock()
	if same || parse(l.a.said.Load().capabilities).get("logging") == nil {
		return
	}
	_, _ = l.call(ctx, methodLevel, object{}.set("level", quote(levels[level])).raw())
}

// call sends a request of the Adapter's own and waits for the answer.
func (l *link) call(ctx context.Context, method string, params json.RawMessage) (object, error) {
	c := &call{a: l.a, method: method, use: light, bare: true, own: make(chan json.RawMessage, 1)}
	l.a.mu.Lock()
	if l.dead {
		l.a.mu.Unlock()
		return nil, io.ErrClosedPipe
	}
	l.add(c)
	l.a.mu.Unlock()
	defer l.a.release(c, 0)
	if err := l.pipe.Write(ctx, request(c.id, method, params)); err != nil {
		return nil, err
	}
	select {
	case raw := <-c.own:
		return parse(raw), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wrote takes the error of a write: of that message alone, or of the conversation.
func (l *link) wrote(c *call, err error) {
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		c.refused(refused)
		return
	}
	l.end(err)
}

// end ends the conversation: its calls are told why, and its listens have to begin again.
func (l *link) end(why error) { l.endIf(func() bool { return true }, why) }

func (l *link) endIf(so func() bool, why error) {
	a := l.a
	a.mu.Lock()
	if l.dead || !so() {
		a.mu.Unlock()
		return
	}
	l.dead = true
	if l.timer != nil {
		l.timer.Stop()
	}
	if p := l.pool; p != nil {
		for i, other := range p.links {
			if other == l {
				p.links = append(p.links[:i:i], p.links[i+1:]...)
				break
			}
		}
	}
	if !l.lent {
		a.links--
	}
	var calls []*call
	for _, c := range l.calls {
		calls = append(calls, c)
	}
	var listens []*listen
	for n := range l.listens {
		listens = append(listens, n)
	}
	a.wake()
	a.mu.Unlock()
	_ = l.pipe.Close() // nothing is left to be told
	for _, c := range calls {
		c.ended(why)
	}
	for _, n := range listens {
		n.over()
	}
	if why != errIdle && !errors.Is(why, wire.ErrClosed) {
		a.log.Info("a conversation with the server has ended", "err", why)
	}
}
