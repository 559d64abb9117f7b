package shim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/toolbus/toolbus/servers/wire"
)

const (
	methodInitialize  = "initialize"
	methodInitialized = "notifications/initialized"
	methodCancelled   = "notifications/cancelled"
	methodRoots       = "notifications/roots/list_changed"
	methodPing        = "ping"

	codeParse   = -32700
	codeInvalid = -32600

	codeNoMethod = -32601 // what a modern server says to initialize
	codeVersion  = -32022 // or this
)

// readClient reads the client to its end. io.EOF is an ordinary one.
func (s *shim) readClient(in io.Reader) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := readLine(r, s.opts.MaxMessage)
		switch {
		case errors.Is(err, errLineTooLong):
			facts := wire.Facts{Executed: "no"}
			s.out.later(wire.NewError(wire.CodeTooLarge, "a message is larger than the wire can take", facts).Response(nil))
			continue
		case err != nil:
			return err
		}
		if s.ctx.Err() != nil {
			return errClientGone
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			s.fromClient(line)
		}
	}
}

func (s *shim) fromClient(raw json.RawMessage) {
	if raw[0] == '[' {
		s.fromBatch(raw)
		return
	}
	m, err := wire.Scan(raw)
	if err != nil {
		s.out.later((&wire.Error{Code: codeParse, Message: plain(err)}).Response(nil))
		return
	}
	s.take(m, nil)
}

// take takes one message of the client.
func (s *shim) take(m wire.Message, b *batch) {
	switch {
	case m.Request():
		s.request(m, b)
	case m.Response():
		s.response(m)
	case m.Method == methodCancelled:
		s.cancelled(m)
	default:
		s.notification(m)
	}
}

func (s *shim) request(m wire.Message, b *batch) {
	target, _ := m.Target() // what cannot be told for certain the wire refuses
	r := &request{raw: m.Raw, id: m.ID(), method: m.Method, target: target, batch: b}
	for {
		s.mu.Lock()
		room := s.room
		if room == nil {
			break
		}
		s.mu.Unlock()
		select {
		case <-room:
		case <-s.ctx.Done():
			return
		}
	}
	twice := s.pending[string(r.id)] != nil || s.queued(r.id) >= 0
	var refusal *wire.Error
	switch {
	case twice:
		refusal = &wire.Error{Code: codeInvalid, Message: "a request with this id is in flight"}
	case s.down && m.Method == methodPing:
		s.mu.Unlock()
		s.answer(r, json.RawMessage(`{"jsonrpc":"2.0","id":`+string(r.id)+`,"result":{}}`), s.out.later)
		return
	case s.down && s.failing:
		refusal = s.missing()
	case s.down:
		s.queue(r)
		s.mu.Unlock()
		return
	}
	pipe := s.pipe
	if refusal == nil {
		s.pending[string(r.id)] = r
	}
	s.mu.Unlock()
	if refusal != nil {
		s.refuse(r, refusal)
		return
	}
	s.send(pipe, r)
}

// send hands a request over. One that could not be sent waits; then it is false.
func (s *shim) send(pipe wire.Pipe, r *request) bool {
	err := pipe.Write(s.ctx, r.raw)
	if err != nil && s.ctx.Err() != nil {
		return false
	}
	s.mu.Lock()
	r.sent = err == nil
	if s.pending[string(r.id)] != r { // answered, or cancelled
		s.mu.Unlock()
		return true
	}
	refusal, alone := errors.AsType[*wire.Error](err)
	ended := err == nil && s.pipe != pipe // after the Write: see lost
	switch {
	case err == nil && !ended:
		s.mu.Unlock()
		return true
	case ended && !s.safe(r):
		refusal, alone = lostError(io.EOF), true
	}
	delete(s.pending, string(r.id))
	if !alone { // the conversation has ended before it
		s.queue(r)
		s.outage(nil)
	}
	s.mu.Unlock()
	if alone {
		s.refuse(r, refusal)
	}
	return alone
}

// queue lets a request wait for a server. s.mu is held.
func (s *shim) queue(r *request) {
	s.backlog = append(s.backlog, r)
	if s.waiting += len(r.raw); s.waiting > maxBacklog && s.room == nil {
		s.room = make(chan struct{})
	}
}

// unqueue takes a request out. s.mu is held.
func (s *shim) unqueue(i int) *request {
	r := s.backlog[i]
	s.backlog = append(s.backlog[:i:i], s.backlog[i+1:]...)
	if s.waiting -= len(r.raw); s.waiting <= maxBacklog && s.room != nil {
		close(s.room)
		s.room = nil
	}
	return r
}

// queued finds a request that waits, -1 if there is none. s.mu is held.
func (s *shim) queued(id json.RawMessage) int {
	for i, r := range s.backlog {
		if string(r.id) == string(id) {
			return i
		}
	}
	return -1
}

// cancelled forgets a request that the client wants no answer to, and passes that on.
func (s *shim) cancelled(m wire.Message) {
	id := m.At(wire.PlaceCancelled)
	s.mu.Lock()
	var r *request
	if i := s.queued(id); i >= 0 {
		r = s.unqueue(i)
	} else {
		r = s.pending[string(id)]
		if r != nil && r.method == methodInitialize { // cannot be cancelled
			s.mu.Unlock()
			return
		}
		delete(s.pending, string(id))
	}
	pipe, down := s.pipe, s.down
	s.settle()
	s.mu.Unlock()
	if r != nil {
		s.unbatch(r.batch)
	}
	if pipe != nil && !down {
		_ = pipe.Write(s.ctx, m.Raw) // nothing is promised for a cancellation
	}
}

// notification passes one on. What makes up the session is noted; the rest is of no use to another server.
func (s *shim) notification(m wire.Message) {
	s.mu.Lock()
	switch m.Method {
	case methodInitialized:
		s.session.initialized = true
	case methodRoots:
		s.session.roots = true
	}
	pipe, down := s.pipe, s.down
	s.mu.Unlock()
	if pipe != nil && !down {
		_ = pipe.Write(s.ctx, m.Raw) // the end of the conversation is seen by its reader
	}
}

// response passes the client's answer to a request of the server's on, if that server is still there.
func (s *shim) response(m wire.Message) {
	s.mu.Lock()
	q, ok := s.asked[string(m.ID())]
	delete(s.asked, string(m.ID()))
	pipe := s.pipe
	live := ok && q.epoch == s.epoch && pipe != nil
	s.mu.Unlock()
	if !live {
		s.log.Debug("an answer to a server that is gone, or to nothing", "id", string(m.ID()))
		return
	}
	raw := m.Raw
	if string(q.id) != string(m.ID()) {
		raw = m.With(map[wire.Place]json.RawMessage{wire.PlaceID: q.id})
	}
	_ = pipe.Write(s.ctx, raw)
}

// plain takes the package's name out of an error that a client will read.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "wire: ") }
