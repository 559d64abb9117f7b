package era

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// call is one request as the legacy server has it. It outlives the modern request that began it: when the server asks something, that one is answered with
// input_required, and a retry waits in its place. The Adapter's lock guards it.
type call struct {
	a       *Adapter
	link    *link
	id      json.RawMessage // as the server knows it; its progress token too
	method  string
	can     abilities
	use     use
	bare    bool
	request [sha256.Size]byte    // see digest
	own     chan json.RawMessage // of the Adapter itself: where the answer goes

	front *front // who waits; nil while it is suspended

	asks    []*ask // what the server has asked and was not answered
	counted int
	gather  *time.Timer // until what was asked goes out

	key    [16]byte // in Adapter.suspended
	expiry *time.Timer
	held   []wire.Message // what the server said while nobody waited
	done   *wire.Message  // its response, likewise
}

// ask is one request of the server's to the client.
type ask struct {
	id     json.RawMessage // as the server has written it
	key    string          // as the client is shown it
	method string
	params json.RawMessage
}

// answered takes the server's response.
func (c *call) answered(m wire.Message) {
	if c.own != nil {
		c.a.release(c, 0)
		c.own <- m.Raw
		return
	}
	c.a.mu.Lock()
	f := c.front
	if f == nil {
		c.done = &m
		c.asks = nil // it does not wait for these
	} else {
		f.call, c.front = nil, nil
	}
	c.stopGathering()
	c.a.mu.Unlock()
	c.a.release(c, 0)
	if f != nil {
		f.answer(c.response(m, f.id))
	}
}

// response is what the client gets.
func (c *call) response(m wire.Message, id json.RawMessage) json.RawMessage {
	if c.bare {
		return parse(m.Raw).set("id", id).raw()
	}
	return c.a.modernResponse(c.method, parse(m.Raw), id)
}

func (c *call) stopGathering() {
	if c.gather != nil {
		c.gather.Stop()
		c.gather = nil
	}
}

// notify passes on what the server says about the call. a.mu is held.
func (c *call) notify(m wire.Message) {
	f := c.front
	if f == nil {
		if c.own == nil && len(c.held) < maxHeld {
			c.held = append(c.held, m)
		}
		return
	}
	switch m.Method {
	case methodProgress:
		if f.token == nil {
			return
		}
		f.q.put(m.With(map[wire.Place]json.RawMessage{wire.PlaceProgress: f.token}))
	case methodMessage:
		if l := level(parse(parse(m.Raw).get("params")).text("level")); f.level >= 0 && l >= f.level {
			f.q.put(m.Raw)
		}
	default:
		f.q.put(m.Raw)
	}
}

// asked takes a request of the server's for the client. False: it cannot be asked any more.
func (c *call) asked(m wire.Message, params json.RawMessage) bool {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	if c.link.holder != c || c.done != nil {
		return false
	}
	c.counted++
	c.asks = append(c.asks, &ask{id: m.ID(), key: "ask-" + strconv.Itoa(c.counted), method: m.Method, params: params})
	if c.front != nil && c.gather == nil {
		c.gather = time.AfterFunc(gatherFor, c.suspend)
	}
	return true
}

// withdrawn takes that the server does not want an answer any more. a.mu is held.
func (c *call) withdrawn(id json.RawMessage) {
	for i, q := range c.asks {
		if string(q.id) == string(id) {
			c.asks = append(c.asks[:i:i], c.asks[i+1:]...)
			return
		}
	}
}

// suspend answers who waits with input_required.
func (c *call) suspend() {
	c.a.mu.Lock()
	f := c.front
	c.stopGathering()
	if f == nil || len(c.asks) == 0 || c.a.closed {
		c.a.mu.Unlock()
		return
	}
	f.call, c.front = nil, nil
	msg := c.inputRequired(f.id)
	c.a.mu.Unlock()
	f.answer(msg)
}

// inputRequired makes the response that asks the client, and the state that its retry shows. a.mu is held.
func (c *call) inputRequired(id json.RawMessage) json.RawMessage {
	asks := object{}
	for _, q := range c.asks {
		one := object{}.set("method", quote(q.method))
		if q.params != nil {
			one = one.set("params", q.params)
		} else {
			one = one.set("params", json.RawMessage("{}"))
		}
		asks = asks.set(q.key, one.raw())
		c.link.tainted = c.link.tainted || q.method == methodRoots
	}
	delete(c.a.suspended, c.key)
	c.key = randomBytes()
	c.a.suspended[c.key] = c
	until := now().Add(c.a.opts.Expiry)
	sealed := c.a.seal.close(state{call: c.key, request: c.request, until: until})
	key := c.key
	c.expiry = time.AfterFunc(c.a.opts.Expiry, func() { c.expired(key) })
	result := object{}.set("resultType", json.RawMessage(`"input_required"`)).set("inputRequests", asks.raw()).
		set("requestState", quote(sealed))
	return response(id, c.a.signed(result).raw())
}

// expired gives a suspended call up.
func (c *call) expired(key [16]byte) {
	c.a.mu.Lock()
	mine := c.a.suspended[key] == c
	delete(c.a.suspended, key)
	c.a.mu.Unlock()
	if mine {
		c.abandon("its client did not come back")
	}
}

// abandon tells the server that nobody waits for the call any more.
func (c *call) abandon(why string) {
	c.a.mu.Lock()
	asks := c.asks
	c.asks, c.front = nil, nil
	c.stopGathering()
	over := c.link.calls[string(c.id)] != c
	c.a.mu.Unlock()
	if over {
		return
	}
	c.a.release(c, coolFor)
	c.a.spawn(func() { // the server may be slow to read
		for _, q := range asks {
			_ = c.link.pipe.Write(c.a.ctx, refusal(q.id, codeInternal, why)) // the reader sees an ended pipe, here and below
		}
		params := object{}.set("requestId", c.id).set("reason", quote(why))
		_ = c.link.pipe.Write(c.a.ctx, notification(methodCancelled, params.raw()))
	})
}

// ended takes that the conversation has ended.
func (c *call) ended(why error) {
	if c.own != nil {
		c.own <- refusal(c.id, codeInternal, why.Error())
		return
	}
	c.a.mu.Lock()
	f := c.front
	if f != nil {
		f.call, c.front = nil, nil
	}
	delete(c.a.suspended, c.key)
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.stopGathering()
	c.a.mu.Unlock()
	if f == nil {
		return
	}
	if why == io.EOF {
		why = wire.NewError(wire.CodeBackend, "the server closed its side", wire.Facts{})
	}
	f.fail(why)
}

// refused takes that the server was not given the request.
func (c *call) refused(why *wire.Error) {
	c.a.release(c, 0)
	if c.own == nil {
		c.ended(why)
	}
}
