package wire

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	downStream  = "d" // the id of the stream of what the server says by itself
	keptStreams = 64  // answered requests of a session whose frames can be asked for again
	keptBytes   = 16 << 20
)

// nextStream names the stream of a request.
func (n *session) nextStream() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	return "r" + strconv.FormatUint(n.count, 10)
}

// keep keeps the stream of a request that was answered. The newest stays whatever its size.
func (n *session) keep(s *stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used = time.Now()
	if n.over {
		return
	}
	n.kept = append(n.kept, s)
	bytes := 0
	for i := len(n.kept) - 1; i >= 0; i-- {
		bytes += n.kept[i].size()
		if i < len(n.kept)-1 && (bytes > keptBytes || len(n.kept)-i > keptStreams) {
			clear(n.kept[:i+1])
			n.kept = n.kept[i+1:]
			return
		}
	}
}

// stream finds a stream of the session by its id.
func (n *session) stream(id string) *stream {
	if id == downStream {
		return n.down
	}
	s := n.serving
	s.mu.Lock()
	for _, c := range s.calls {
		if c.of == n && c.stream.id == id {
			s.mu.Unlock()
			return &c.stream
		}
	}
	s.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, stream := range n.kept {
		if stream.id == id {
			return stream
		}
	}
	return nil
}

// beside asks a client that does not listen on the stream of its newest request that it waits for: it may never listen, and the server waits for its answer.
func (n *session) beside(request []byte) bool {
	if !n.detached || n.down.address() != "" {
		return false
	}
	var newest *call
	s := n.serving
	s.mu.Lock()
	for _, c := range s.calls {
		if c.of == n && !c.bare && c.conv.Load() != nil && c.address() != "" && (newest == nil || c.since.After(newest.since)) {
			newest = c
		}
	}
	s.mu.Unlock()
	if newest == nil || newest.backlog() > s.limit {
		return false
	}
	sent, _ := newest.send(frameRequest, request, false) // what the connection cannot take now goes out later
	return sent
}

// find finds the stream of an answered request by where it goes.
func (n *session) find(to string) *stream {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, stream := range n.kept {
		if stream.address() == to {
			return stream
		}
	}
	return nil
}

// touch notes a sign of a client.
func (n *session) touch() {
	n.mu.Lock()
	n.used = time.Now()
	n.mu.Unlock()
}

// unused tells whether nobody has had anything with the session for longer than it may live so.
func (n *session) unused(busy bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if busy {
		n.used = time.Now()
	}
	return time.Since(n.used) > n.idle
}

// confirm says that a message without a number was taken.
func (n *session) confirm(msg *nats.Msg) {
	if msg.Reply == "" || msg.Header.Get(HeaderSeq) != "" {
		return
	}
	ack := &nats.Msg{Subject: msg.Reply, Header: nats.Header{HeaderWire: {Version}, HeaderFrame: {frameAck}, HeaderSeq: {"1"}}}
	(&stream{who: n.down.who}).sign(ack)
	_ = publish(n.serving.server.nc, ack) // who does not hear it asks again
}

// room waits while more waits for the client than one message may have, at most while the session lasts.
func (n *session) room() {
	for n.down.backlog() > n.serving.limit {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-n.ended:
			return
		}
	}
}
