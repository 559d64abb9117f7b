package aggregate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// linkQueue is how many messages may wait for one server while the client's session with it opens, or the bus is slow.
const linkQueue = 1024

// link is what a conversation has with one server: a session, or the way of its requests. It begins at the first use and ends with either side.
type link struct {
	c      *conversation
	server string
	queue  chan json.RawMessage
	ctx    context.Context
	cancel context.CancelFunc
	pipe   wire.Pipe

	// the conversation's lock guards these
	open, logs bool
	over       bool
}

// link returns the link to a server. nil: the conversation has ended.
func (c *conversation) link(server string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.linkLocked(server)
}

func (c *conversation) linkLocked(server string) *link {
	if l := c.links[server]; l != nil {
		return l
	}
	if c.ctx.Err() != nil {
		return nil
	}
	l := &link{c: c, server: server, queue: make(chan json.RawMessage, linkQueue)}
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	c.links[server] = l
	c.work.Go(l.run)
	return l
}

// forward sends a request to a server, unless it was cancelled meanwhile.
func (c *conversation) forward(r *request, server string, raw json.RawMessage) {
	c.mu.Lock()
	if c.pending[string(r.id)] != r {
		c.mu.Unlock()
		return
	}
	l := c.linkLocked(server)
	r.link = l
	c.mu.Unlock()
	if l != nil && !l.put(raw) && c.take(r.id) != nil {
		c.refuse(r.id, wire.NewError(wire.CodeBusy, server+": too many messages wait for it", wire.Facts{Name: server}))
	}
}

// errand sends a request of our own. The answer comes on the link's reader, which it may not hold up.
func (l *link) errand(method, params string, listen *request, answer func(json.RawMessage)) json.RawMessage {
	l.c.mu.Lock()
	id := l.c.id()
	over := l.over
	if !over {
		l.c.own[string(id)] = errand{link: l, answer: answer, listen: listen}
	}
	l.c.mu.Unlock()
	raw := json.RawMessage(`{"jsonrpc":"2.0","id":` + string(id) + `,"method":"` + method + `","params":` + params + `}`)
	if over || !l.put(raw) {
		l.c.mu.Lock()
		_, waits := l.c.own[string(id)]
		delete(l.c.own, string(id))
		l.c.mu.Unlock()
		if over || waits {
			answer(nil)
		}
	}
	return id
}

// put queues a message for the server. It does not wait; false: there is no room.
func (l *link) put(raw json.RawMessage) bool {
	select {
	case l.queue <- raw:
		return true
	default:
		return false
	}
}

func (l *link) run() {
	pipe, err := l.c.e.caller.Dial(wire.Target{Name: l.server})
	if err != nil {
		l.end(err)
		return
	}
	l.pipe = pipe
	defer pipe.Close()
	if !l.c.spawn(l.read) {
		l.end(wire.ErrClosed)
		return
	}
	if l.c.legacy {
		if err := l.begin(); err != nil {
			l.end(err)
			return
		}
	}
	for {
		select {
		case raw := <-l.queue:
			err := pipe.Write(l.ctx, raw)
			if refusal, ok := errors.AsType[*wire.Error](err); ok {
				l.refused(raw, refusal)
			} else if err != nil {
				l.end(err)
				return
			}
		case <-l.ctx.Done():
			l.end(wire.ErrClosed)
			return
		}
	}
}

// refused answers a request that the wire did not take.
func (l *link) refused(raw json.RawMessage, err *wire.Error) {
	if m, scanErr := wire.Scan(raw); scanErr == nil && m.Request() {
		if r := l.c.take(m.ID()); r != nil {
			l.c.refuse(r.id, err)
		}
	}
}

// begin opens the client's session with the server: with what the client has said to the endpoint, and since.
func (l *link) begin() error {
	c := l.c
	answer := make(chan json.RawMessage, 1)
	c.mu.Lock()
	id := c.id()
	c.own[string(id)] = errand{link: l, answer: func(raw json.RawMessage) { answer <- raw }}
	params := c.params
	c.mu.Unlock()
	if params == nil {
		return &wire.Error{Code: codeInvalidRequest, Message: "the session is not initialized"}
	}
	if err := l.pipe.Write(l.ctx, json.RawMessage(`{"jsonrpc":"2.0","id":`+string(id)+`,"method":"initialize","params":`+string(params)+`}`)); err != nil {
		return err
	}
	late := time.NewTimer(c.e.opts.OpenTimeout)
	defer late.Stop()
	var raw json.RawMessage
	select {
	case raw = <-answer:
	case <-late.C:
		return wire.NewError(wire.CodeUnknown, l.server+" did not open a session within "+c.e.opts.OpenTimeout.String(), wire.Facts{Name: l.server, Executed: "no"})
	case <-l.ctx.Done():
		return wire.ErrClosed
	}
	if raw == nil {
		return io.EOF
	}
	result, err := resultOf(raw)
	if err != nil {
		return err
	}
	if err := l.pipe.Write(l.ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		return err
	}
	_, logs, _ := find(result, "capabilities", "logging")
	c.mu.Lock()
	l.open, l.logs = true, logs
	level := c.level
	uris := slices.Sorted(maps.Keys(c.subscribed[l.server]))
	c.mu.Unlock()
	if level != nil && logs {
		l.errand("logging/setLevel", string(level), nil, func(json.RawMessage) {})
	}
	for _, uri := range uris {
		l.errand("resources/subscribe", `{"uri":`+string(quote(uri))+`}`, nil, func(json.RawMessage) {})
	}
	return nil
}

// setLevel tells the server the client's level of log messages. One whose session is not open yet is told then.
func (l *link) setLevel() {
	l.c.mu.Lock()
	level, open := l.c.level, l.open && l.logs
	l.c.mu.Unlock()
	if open {
		l.errand("logging/setLevel", string(level), nil, func(json.RawMessage) {})
	}
}

func (l *link) read() {
	for {
		raw, err := l.pipe.Read(l.ctx)
		if err != nil {
			l.end(err)
			return
		}
		m, err := wire.Scan(raw)
		if err != nil {
			l.c.e.log.Debug("a server said what is no message", "name", l.server, "err", err)
			continue
		}
		l.said(m)
	}
}

// end ends the link: what the client waits for there is answered, what it was asked from there is taken back.
func (l *link) end(why error) {
	c := l.c
	c.mu.Lock()
	if l.over {
		c.mu.Unlock()
		return
	}
	l.over = true
	if c.links[l.server] == l {
		delete(c.links, l.server)
	}
	var lost []*request
	for id, r := range c.pending {
		if r.link == l {
			lost = append(lost, r)
			delete(c.pending, id)
		}
	}
	var moot []string
	for id, q := range c.asked {
		if q.link == l {
			moot = append(moot, id)
			delete(c.asked, id)
			delete(c.tokens, q.with)
		}
	}
	var errands []errand
	for id, e := range c.own {
		if e.link == l {
			errands = append(errands, e)
			delete(c.own, id)
		}
	}
	c.mu.Unlock()
	l.cancel()
	for _, e := range errands {
		e.answer(nil)
	}
	refusal, ok := errors.AsType[*wire.Error](why)
	if !ok {
		refusal = wire.NewError(wire.CodeEnded, l.server+": the conversation has ended: "+why.Error(), wire.Facts{Name: l.server, Why: why.Error()})
	}
	for _, r := range lost {
		c.refuse(r.id, refusal)
	}
	for _, id := range moot {
		c.say(json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `,"reason":"the server that asked has ended"}}`))
	}
}
