package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// conversation is one pipe of a backend with the calls that are in it. There are three kinds: the shared one of all callers without a
// session, one for a single request, and one for each legacy session. They differ in two things: whether every id is replaced, or
// only those that a JSON library would spoil; and where that goes which belongs to no call.
type conversation struct {
	serving *Serving
	pipe    Pipe
	replace bool // every id and token: callers who know nothing of each other meet here
	other   func(m Message)
	ended   func(err error)

	ctx    context.Context // its own: ends with close
	cancel context.CancelFunc

	mu      sync.Mutex
	pending map[string]*call // by the id as the backend sees it
	tokens  map[string]*call // by the progress token as the backend sees it
	next    uint64
	err     error
}

func newConversation(s *Serving, pipe Pipe, replace bool, other func(Message), ended func(error)) *conversation {
	ctx, cancel := context.WithCancel(s.ctx)
	return &conversation{
		serving: s, pipe: pipe, replace: replace, other: other, ended: ended, ctx: ctx, cancel: cancel,
		pending: map[string]*call{}, tokens: map[string]*call{},
	}
}

// request passes the call's message on to the backend.
func (v *conversation) request(c *call) {
	v.mu.Lock()
	if v.err != nil {
		err := v.err
		v.mu.Unlock()
		c.fail(v.serving.endError(err, "no"))
		return
	}
	var edits []edit
	key, with := v.claim(c.msg.ID())
	if with != nil {
		edits = append(edits, edit{c.msg.id, with})
	}
	if v.pending[key] != nil {
		v.mu.Unlock()
		c.fail(&Error{Code: -32600, Message: "a request with this id is in flight"})
		return
	}
	c.key = key
	v.pending[key] = c
	if token := c.msg.metaToken.of(c.msg.Raw); token != nil && validKey(token) {
		c.token = token
		c.tokenKey, with = v.claim(token)
		if with != nil {
			edits = append(edits, edit{c.msg.metaToken, with})
		}
		v.tokens[c.tokenKey] = c
	}
	c.conv.Store(v)
	v.mu.Unlock()

	raw := c.msg.Raw
	if edits != nil {
		raw = splice(raw, edits...)
	}
	c.msg.Raw = nil // it may be large, and belongs to the pipe now
	if err := v.pipe.Write(v.ctx, raw); err != nil {
		if refusal, ok := errors.AsType[*Error](err); ok {
			v.forget(c)
			c.fail(refusal)
			return
		}
		v.close(fmt.Errorf("wire: writing to the server: %w", err))
	}
}

// claim says by which key an id will come back, and what to write in its place if the backend shall not see it. v.mu is held.
func (v *conversation) claim(raw json.RawMessage) (key string, with []byte) {
	if !v.replace && plainID(raw) {
		return idKey(raw), nil
	}
	v.next++
	n := strconv.FormatUint(v.next, 10)
	if v.replace {
		return "n" + n, []byte(n)
	}
	text := "toolbus-" + n // not a number: the client's own numbers are in here too
	return "s" + text, []byte(`"` + text + `"`)
}

// cancelled passes a caller's notifications/cancelled for c on, and forgets the call: nothing comes back any more.
func (v *conversation) cancelled(c *call, m Message) {
	if !v.forget(c) {
		return
	}
	raw := m.Raw
	if at := m.requestID; at.to > 0 && (v.replace || !plainID(at.of(raw))) {
		id := c.key[1:]
		if c.key[0] == 's' {
			id = `"` + id + `"`
		}
		raw = splice(raw, edit{at, []byte(id)})
	}
	_ = v.pipe.Write(v.ctx, raw) // an ended conversation tells it by itself
	c.drop()
}

// find returns the call that a message of the client names by its id.
func (v *conversation) find(id json.RawMessage) *call {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !validKey(id) {
		return nil
	}
	if !v.replace && plainID(id) {
		return v.pending[idKey(id)]
	}
	for _, c := range v.pending {
		if string(c.id) == string(id) || idKey(c.id) == idKey(id) {
			return c
		}
	}
	return nil
}

// forget takes a call out. False: it was not in any more.
func (v *conversation) forget(c *call) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pending[c.key] != c {
		return false
	}
	delete(v.pending, c.key)
	if c.tokenKey != "" {
		delete(v.tokens, c.tokenKey)
	}
	return true
}

// read carries what the backend says to where it belongs, until the pipe ends.
func (v *conversation) read() {
	for {
		raw, err := v.pipe.Read(v.ctx)
		if err != nil {
			if v.ctx.Err() != nil {
				err = ErrClosed
			}
			v.close(err)
			return
		}
		m, err := Scan(raw)
		if err != nil {
			v.serving.log.Warn("the server said what is no message", "err", err, "bytes", len(raw))
			continue
		}
		v.route(m)
	}
}

func (v *conversation) route(m Message) {
	switch {
	case m.Response():
		id := m.ID()
		if id == nil || !validKey(id) {
			v.serving.log.Debug("a response without an id", "bytes", len(m.Raw))
			return
		}
		v.mu.Lock()
		c := v.pending[idKey(id)]
		v.mu.Unlock()
		if c == nil || !v.forget(c) { // cancelled, most likely
			v.serving.log.Debug("a response that nobody waits for", "id", string(id))
			return
		}
		if string(id) != string(c.id) {
			m.Raw = splice(m.Raw, edit{m.id, c.id})
		}
		c.answered(m)
	case m.Notification():
		if c, restored := v.owner(m); c != nil {
			c.notify(restored)
			return
		}
		v.other(m)
	case m.Request():
		v.other(m)
	}
}

// owner finds the call that a notification belongs to: progress by its token, a subscription's news by its id. It returns the message
// as the caller shall see it.
func (v *conversation) owner(m Message) (*call, json.RawMessage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at := m.paramsToken; m.Method == methodProgress && at.to > 0 {
		token := at.of(m.Raw)
		if !validKey(token) {
			return nil, nil
		}
		c := v.tokens[idKey(token)]
		if c == nil {
			return nil, nil
		}
		return c, restore(m.Raw, at, c.token)
	}
	for _, at := range [...]span{m.subscription, m.requestID} {
		if at.to == 0 || at == m.requestID && m.Method != methodCancelled {
			continue
		}
		id := at.of(m.Raw)
		if !validKey(id) {
			continue
		}
		if c := v.pending[idKey(id)]; c != nil {
			return c, restore(m.Raw, at, c.id)
		}
	}
	return nil, nil
}

func restore(raw json.RawMessage, at span, with json.RawMessage) json.RawMessage {
	if string(at.of(raw)) == string(with) {
		return raw
	}
	return splice(raw, edit{at, with})
}

// refuse answers a request of the server's that reaches no client.
func (v *conversation) refuse(m Message) {
	if !m.Request() {
		v.serving.log.Debug("a notification that belongs to no call", "method", m.Method)
		return
	}
	_ = v.pipe.Write(v.ctx, Unattended(m)) // the reader sees an ended pipe
}

// close ends the conversation: the pipe is closed and every call in it is told why.
func (v *conversation) close(err error) {
	v.mu.Lock()
	if v.err != nil {
		v.mu.Unlock()
		return
	}
	v.err = err
	pending := v.pending
	v.pending, v.tokens = map[string]*call{}, map[string]*call{}
	v.mu.Unlock()
	v.cancel()
	_ = v.pipe.Close() // nothing is left to be told
	for _, c := range pending {
		c.fail(v.serving.endError(err, "unknown"))
	}
	v.ended(err)
}

// endError says that the server behind the instance has ended, or that the instance is closing.
func (s *Serving) endError(err error, executed string) *Error {
	facts := s.facts()
	facts.Executed, facts.Why = executed, err.Error()
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal
	}
	switch {
	case errors.Is(err, ErrClosed):
		return fail(CodeEnded, s.opts.Name+": the instance was closed", facts)
	case errors.Is(err, io.EOF):
		facts.Why = "the server closed its side"
	}
	return fail(CodeBackend, s.opts.Name+": the server ended: "+facts.Why, facts)
}
