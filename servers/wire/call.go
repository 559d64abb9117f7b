package wire

import (
	"encoding/json"
	"sync/atomic"
	"time"
)

// call is one request at the instance that has it, from its arrival until its answer.
type call struct {
	stream
	serving *Serving
	reply   string
	bare    bool // the caller knows nothing of frames (nats req): it gets the response and nothing else
	msg     Message
	id      json.RawMessage
	subject Subject
	since   time.Time
	ack     *time.Timer
	slot    bool     // counts against MaxInFlight; under the serving's lock
	missing *missing // nil if bare

	of       *session // the session that it belongs to
	opening  bool     // initialize: opens a session
	downlink string
	idle     time.Duration // instead of a downlink: how long the session lives unused
	session  *session
	opened   bool // the server has accepted

	solo     atomic.Pointer[conversation] // serves this call alone
	conv     atomic.Pointer[conversation] // set when the backend gets it; then key and tokens stand
	key      string
	token    json.RawMessage
	tokenKey string
}

// respond publishes the last frame and takes the call out. Only the first one counts.
func (c *call) respond(kind string, body json.RawMessage, headers ...string) {
	limit := c.serving.limit
	if c.bare {
		limit = min(limit, int(c.nc.MaxPayload())-partRoom)
	}
	if len(body) > limit {
		facts := c.serving.facts()
		facts.Executed = "unknown"
		kind, body = frameError, fail(CodeTooLarge, "the answer is larger than the caller or the wire can take", facts).Response(c.id)
	}
	c.serving.mirror("down", c.whose(), body)
	if _, err := c.send(kind, body, true, headers...); err != nil {
		c.serving.log.Info("an answer waits for the connection", "err", err, "bytes", len(body))
	}
	c.drop()
}

func (c *call) fail(err *Error) { c.respond(frameError, err.Response(c.id)) }

// notify passes on what belongs to the call and comes before its answer.
func (c *call) notify(body json.RawMessage) {
	if c.bare {
		return
	}
	if len(body) > c.serving.limit {
		facts := c.serving.facts()
		facts.Executed = "unknown"
		if v := c.conv.Load(); v != nil && !v.forget(c) {
			return
		}
		c.fail(fail(CodeTooLarge, "a notification is larger than the wire can take", facts))
		return
	}
	if c.backlog() > c.serving.limit {
		if v := c.conv.Load(); v != nil && v.forget(c) {
			c.fail(fail(CodeUnknown, "the caller reads too slowly", c.serving.facts()))
		}
		return
	}
	c.serving.mirror("down", c.whose(), body)
	if _, err := c.send(frameNotification, body, false); err != nil {
		c.serving.log.Info("a notification waits for the connection", "err", err)
	}
}

// acknowledge makes sure that the first frame goes out in time.
func (c *call) acknowledge() {
	if !c.bare {
		c.ack = time.AfterFunc(ackAfter, func() { c.first(frameAck) })
	}
}

// drop ends the call without another frame.
func (c *call) drop() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	if c.ack != nil {
		c.ack.Stop()
	}
	if c.session != nil && !c.opened {
		c.session.end(c.session.broken("it was not opened"), false)
	}
	if v := c.solo.Load(); v != nil {
		v.close(ErrClosed)
	}
	c.serving.finished(c)
}

// answered carries the server's response. The one to initialize names the session, or there is none.
func (c *call) answered(m Message) {
	if c.session != nil && m.result && !m.failure {
		c.opened = true
		c.respond(frameResponse, m.Raw, HeaderSession, c.session.name())
		return
	}
	c.respond(frameResponse, m.Raw)
}

// abandon ends a call whose caller is gone. In a session that outlives its callers the call goes on, for who comes back.
func (c *call) abandon() {
	if c.of != nil && c.of.detached {
		c.leave(c.address())
		return
	}
	v := c.conv.Load()
	if v == nil || !v.forget(c) {
		return // not with the backend yet, or answered
	}
	id := c.key[1:]
	if c.key[0] == 's' {
		quoted, _ := json.Marshal(id)
		id = string(quoted)
	}
	_ = v.pipe.Write(v.ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+id+`,"reason":"the caller is gone"}}`))
	c.drop()
}
