package wire

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// sessionQueue is how many messages of one client may wait for its server. One more than that ends the session: it is not silence.
const sessionQueue = 4096

// session is one legacy client on this instance: a conversation of its own, in order in both directions.
type session struct {
	serving *Serving
	id      string // 128 random bits, the token of the subjects
	whose   string // for taps: the inbox of its initialize
	conv    *conversation
	down    *stream
	missing *missing

	detached bool          // it outlives who opened it: any process may take part
	idle     time.Duration // detached: how long it lives unused

	mu    sync.Mutex
	queue chan *nats.Msg
	over  bool
	ended chan struct{}
	used  time.Time      // detached: the last sign of a client
	count uint64         // streams so far
	kept  []*stream      // detached: the streams of answered requests, for those who ask for them again
	taken map[string]int // frames in the queue, and of messages that are not whole yet, by their reply subject

	ups   map[string]*upstream // by the inbox of who sent it
	parts map[string]*assembly // only run has it
}

// open starts a session for an initialize: the backend's fresh conversation, then the request itself on it.
func (s *Serving) open(c *call) {
	s.mu.Lock()
	full := len(s.sessions)+s.opening >= s.opts.MaxSessions
	if !full {
		s.opening++
	}
	s.mu.Unlock()
	if full {
		c.fail(fail(CodeBusy, s.opts.Name+": too many sessions", s.facts()))
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.OpenTimeout)
	pipe, err := s.backend.Open(ctx)
	cancel()
	if err != nil {
		s.mu.Lock()
		s.opening--
		s.mu.Unlock()
		c.fail(s.openError(err))
		return
	}
	n := &session{
		serving: s, id: newSessionID(), whose: inboxOf(c.reply), queue: make(chan *nats.Msg, sessionQueue), ended: make(chan struct{}),
		down:     &stream{nc: s.server.nc, subject: c.downlink, who: &identity{s.opts.Instance, s.opts.Lease, s.opts.Name}},
		detached: c.idle > 0, idle: c.idle, used: time.Now(),
		taken: map[string]int{}, ups: map[string]*upstream{}, parts: map[string]*assembly{},
	}
	n.missing = &missing{serving: s, stream: n.down, token: "s-" + n.id, gone: func() { n.end(n.broken("the client is gone"), true) }}
	if n.detached {
		n.down.id, n.missing.gone = downStream, func() { n.down.leave(n.down.address()) }
	}
	n.conv = newConversation(s, pipe, false, n.say, func(err error) { n.end(err, true) })
	c.session = n
	s.mu.Lock()
	s.opening--
	closed := s.ctx.Err() != nil
	if !closed {
		s.sessions[n.id] = n
		s.work.Go(n.run)
		s.work.Go(n.conv.read)
	}
	s.mu.Unlock()
	if closed {
		_ = pipe.Close()
		c.fail(s.endError(ErrClosed, "no"))
		return
	}
	n.conv.request(c)
}

// newSessionID makes 128 random bits one token.
func newSessionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// push queues a message of the client. It does not wait.
func (n *session) push(msg *nats.Msg, subject Subject) {
	n.mu.Lock()
	n.used = time.Now()
	follows, err := n.order(msg)
	if follows {
		n.taken[msg.Reply]++
	}
	n.mu.Unlock()
	if err != nil {
		n.serving.spawn(func() { n.end(n.broken(err.Error()), true) })
	}
	if !follows {
		return
	}
	select {
	case n.queue <- msg:
	default:
		n.serving.server.turnDown(msg, fail(CodeBusy, subject.Name+": the session's queue is full", n.serving.facts()))
		n.serving.spawn(func() {
			n.end(n.broken("the server reads too slowly, the queue is full"), true)
		})
	}
}

// run carries what the client says to its server, in order.
func (n *session) run() {
	for {
		select {
		case msg := <-n.queue:
			n.take(msg)
			n.credit(msg)
			n.mu.Lock()
			if n.taken[msg.Reply]--; n.taken[msg.Reply] <= 0 && n.parts[msg.Reply] == nil {
				delete(n.taken, msg.Reply) // it is a call now, or done with
			}
			n.mu.Unlock()
		case <-n.ended:
			return
		case <-n.serving.ctx.Done():
			return
		}
	}
}

func (n *session) take(msg *nats.Msg) {
	s := n.serving
	if msg.Header.Get(HeaderFrame) == frameBye {
		n.confirm(msg)
		n.end(n.broken("the client closed it"), n.detached)
		return
	}
	subject, err := ParseSubject(msg.Subject)
	if err != nil {
		return // it was parsed before
	}
	body, refusal := n.whole(msg)
	if body == nil && refusal == nil {
		return // more parts follow
	}
	var m Message
	if refusal == nil {
		m, refusal = s.agree(body, msg.Header, subject)
	}
	if id, ok := msg.Header[HeaderSession]; refusal == nil && ok && (len(id) != 1 || id[0] != n.name()) {
		refusal = fail(CodeRefused, "subject and header name different sessions", s.facts())
	}
	if refusal == nil {
		s.mirror("up", n.whose, m.Raw)
	}
	if refusal == nil && m.Request() && msg.Reply == "" {
		return // nobody to answer to
	}
	if refusal == nil && m.Request() {
		refusal = s.invalid()
	}
	if refusal != nil {
		s.server.turnDown(&nats.Msg{Subject: msg.Subject, Reply: msg.Reply, Data: body}, refusal)
		return
	}
	switch {
	case m.Request():
		n.request(m, msg, subject)
	case m.Method == methodCancelled && m.requestID.to > 0:
		if c := n.conv.find(m.requestID.of(m.Raw)); c != nil {
			n.conv.cancelled(c, m)
		}
		n.confirm(msg)
	default:
		if n.conv.pipe.Write(n.conv.ctx, m.Raw) == nil { // else the reader sees an ended pipe
			n.confirm(msg)
		}
	}
}

func (n *session) request(m Message, msg *nats.Msg, subject Subject) {
	s := n.serving
	c := s.newCall(msg.Reply, subject, msg.Header.Get(HeaderWire) == "")
	c.msg, c.id, c.of = m, m.ID(), n
	if n.detached {
		c.stream.id = n.nextStream()
	}
	s.mu.Lock()
	twice := s.calls[c.reply] != nil
	if !twice {
		s.calls[c.reply] = c
	}
	s.mu.Unlock()
	if twice {
		s.server.turnDown(msg, fail(CodeRefused, "two requests with one reply subject", s.facts()))
		return
	}
	c.acknowledge()
	n.conv.request(c)
}

// whole puts messages in parts together. Both results are nil while parts are missing.
func (n *session) whole(msg *nats.Msg) ([]byte, *Error) {
	part := msg.Header.Get(HeaderPart)
	if part == "" {
		return msg.Data, nil
	}
	a := n.parts[msg.Reply]
	if a == nil {
		if len(n.parts) >= 8 {
			return nil, fail(CodeBusy, "too many messages in parts at once", n.serving.facts())
		}
		a = &assembly{}
		n.parts[msg.Reply] = a
	}
	body, err := a.add(part, msg.Data, n.serving.limit)
	if msg.Header.Get(HeaderSeq) == "" && err == nil {
		n.serving.partTaken(a, msg.Reply)
	}
	if err != nil || body != nil {
		delete(n.parts, msg.Reply)
	}
	if err != nil {
		return nil, n.serving.partError(err)
	}
	return body, nil
}

// say sends the client what the server says by itself: requests, and notifications that belong to no call.
func (n *session) say(m Message) {
	kind := frameNotification
	if m.Request() {
		kind = frameRequest
	}
	if len(m.Raw) > n.serving.limit {
		if m.Request() {
			_ = n.conv.pipe.Write(n.conv.ctx, fail(CodeTooLarge, "the request is larger than the wire can take", n.serving.facts()).Response(m.ID()))
			return
		}
		n.end(n.broken("the server sent a notification larger than the wire can take"), true)
		return
	}
	n.room()
	n.serving.mirror("down", n.whose, m.Raw)
	if m.Request() && n.beside(m.Raw) {
		return
	}
	if _, err := n.down.send(kind, m.Raw, false); err != nil {
		n.serving.log.Info("a message of the server waits for the connection", "session", n.id, "err", err)
	}
}

// name is the session's id as the client knows it.
func (n *session) name() string { return n.serving.opts.Instance + "." + n.id }

// broken is the end of a session for a reason of its own, not the server's.
func (n *session) broken(why string) *Error {
	facts := n.serving.facts()
	facts.Executed, facts.Why = "unknown", why
	return fail(CodeNoSession, n.serving.opts.Name+": the session ended: "+why, facts)
}

// end ends the session for both sides; tell says whether the client does not know yet.
func (n *session) end(why error, tell bool) {
	n.mu.Lock()
	if n.over {
		n.mu.Unlock()
		return
	}
	n.over = true
	n.mu.Unlock()
	s := n.serving
	s.mu.Lock()
	delete(s.sessions, n.id)
	s.mu.Unlock()
	close(n.ended)
	n.conv.close(why)
	if tell {
		body, _ := json.Marshal(s.endError(why, "unknown"))
		_, _ = n.down.send(frameBye, body, true) // a client that is gone needs no farewell
	}
	s.log.Debug("a session ended", "session", n.id, "why", why)
}

// validDownlink checks a subject that a client wants to be told on.
func validDownlink(subject string) bool {
	if subject == "" || len(subject) > 512 || strings.HasPrefix(subject, root) || strings.HasPrefix(subject, "$") {
		return false
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			return false
		}
	}
	return true
}
