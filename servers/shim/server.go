package shim

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// readBus reads one conversation to its end. early came while the session was made again.
func (s *shim) readBus(pipe wire.Pipe, epoch int, early []json.RawMessage) {
	for _, raw := range early {
		s.fromBus(epoch, raw)
	}
	for {
		raw, err := pipe.Read(s.ctx)
		if err != nil {
			if s.ctx.Err() == nil {
				s.ended(epoch, err)
			}
			return
		}
		s.fromBus(epoch, raw)
	}
}

// fromBus takes one message of the server, or of the wire.
func (s *shim) fromBus(epoch int, raw json.RawMessage) {
	m, err := wire.Scan(raw)
	if err != nil { // it must not reach the client's stdin
		s.log.Warn("the server said what is no message", "err", err, "bytes", len(raw))
		return
	}
	switch {
	case m.Response():
		s.answered(m)
	case m.Request():
		s.ask(epoch, m)
	case m.Method == methodCancelled && m.At(wire.PlaceCancelled) != nil:
		s.withdrawn(epoch, m)
	default:
		s.out.write(m.Raw)
	}
}

// answered passes a response on, unless the request is to be sent again.
func (s *shim) answered(m wire.Message) {
	id := m.ID()
	s.mu.Lock()
	r := s.pending[string(id)]
	if r == nil {
		s.mu.Unlock()
		s.log.Debug("a response that nobody waits for", "id", string(id)) // cancelled, or of a session made again
		return
	}
	delete(s.pending, string(id))
	if m.Failed() {
		if s.translate(r, m.Raw) || s.again(r, m.Raw) {
			s.mu.Unlock()
			return
		}
	} else {
		s.trouble = 0
		s.learn(r, m.Raw)
	}
	s.mu.Unlock()
	s.answer(r, m.Raw, s.out.write)
	s.mu.Lock()
	s.settle()
	s.mu.Unlock()
}

// translate has a legacy client go on through a translation where its initialize is not understood: the server is modern only. s.mu is held.
func (s *shim) translate(r *request, raw json.RawMessage) bool {
	if r.method != methodInitialize || s.translated || s.session.open() {
		return false
	}
	var response struct{ Error *wire.Error }
	if json.Unmarshal(raw, &response) != nil || response.Error == nil || response.Error.Code != codeNoMethod && response.Error.Code != codeVersion {
		return false
	}
	s.log.Info("the server speaks the modern protocol only, and is translated", "err", response.Error)
	pipe := s.pipe
	s.pipe, s.translated = nil, true // connect makes the other
	if pipe != nil {
		_ = pipe.Close() // its reader ends
	}
	s.queue(r)
	s.outage(nil)
	return true
}

// again decides whether a request that failed is to be sent again, and queues it. s.mu is held.
func (s *shim) again(r *request, raw json.RawMessage) bool {
	var response struct{ Error *wire.Error }
	if json.Unmarshal(raw, &response) != nil || response.Error == nil || !response.Error.Known() {
		return false // the server's own error
	}
	failure := response.Error
	nobody := errors.Is(failure, wire.ErrNoResponders) || errors.Is(failure, wire.ErrNoName)
	gone := errors.Is(failure, wire.ErrEnded) || errors.Is(failure, wire.ErrUnknown) || errors.Is(failure, wire.ErrNoSession) ||
		errors.Is(failure, wire.ErrBackend) || errors.Is(failure, wire.ErrNotValid)
	switch {
	case !nobody && !gone:
		return false
	case s.opts.NoRecreate && s.session.open() && !nobody:
		return false
	case failure.Facts().Executed != "no" && !s.safe(r):
		return false
	}
	now := time.Now()
	if r.until.IsZero() {
		r.until = now.Add(max(s.opts.Wait, 0))
	} else if now.After(r.until) {
		return false
	}
	r.tries++
	s.queue(r)
	if nobody {
		s.outage(failure)
	} else {
		s.outage(nil)
	}
	return true
}

// safe tells whether a request may be carried out twice. s.mu is held.
func (s *shim) safe(r *request) bool {
	switch r.method {
	case methodInitialize, methodPing, "server/discover", "tools/list", "resources/list", "resources/templates/list", "resources/read",
		"prompts/list", "prompts/get", "completion/complete", methodLevel, methodSubscribe, methodUnsubscribe:
		return true
	case "tools/call":
		return s.tools[r.target]
	}
	return false
}

// ask passes a request of the server's on. The ids of a server that followed another are replaced: the client may still work on one of the first.
func (s *shim) ask(epoch int, m wire.Message) {
	id := m.ID()
	s.mu.Lock()
	if epoch != s.epoch {
		s.mu.Unlock()
		return
	}
	raw, shown := m.Raw, string(id)
	if _, twice := s.asked[shown]; epoch > 1 || twice {
		s.renamed++
		shown = `"toolbus-` + strconv.Itoa(s.renamed) + `"`
		raw = m.With(map[wire.Place]json.RawMessage{wire.PlaceID: json.RawMessage(shown)})
	}
	s.asked[shown] = question{epoch, id}
	s.mu.Unlock()
	s.out.write(raw)
}

// withdrawn passes on that the server wants no answer any more.
func (s *shim) withdrawn(epoch int, m wire.Message) {
	id := string(m.At(wire.PlaceCancelled))
	raw := m.Raw
	s.mu.Lock()
	for shown, q := range s.asked {
		if q.epoch == epoch && string(q.id) == id {
			delete(s.asked, shown)
			if shown != id {
				raw = m.With(map[wire.Place]json.RawMessage{wire.PlaceCancelled: json.RawMessage(shown)})
			}
			break
		}
	}
	s.mu.Unlock()
	s.out.write(raw)
}

// ended takes the end of a conversation. All that was under way in it has been answered by the wire before.
func (s *shim) ended(epoch int, err error) {
	s.mu.Lock()
	if epoch != s.epoch || s.pipe == nil {
		s.mu.Unlock()
		return
	}
	pipe := s.pipe
	s.pipe = nil
	var orphans []string
	for shown := range s.asked {
		orphans = append(orphans, shown)
	}
	clear(s.asked)
	lost := s.lost()
	over := s.session.open() && s.opts.NoRecreate
	if !over {
		s.outage(nil)
	}
	s.mu.Unlock()
	_ = pipe.Close() // it has ended
	s.log.Warn("the conversation with the server has ended", "err", err, "again", !over)
	for _, id := range orphans {
		s.out.later(json.RawMessage(`{"jsonrpc":"2.0","method":"` + methodCancelled + `","params":{"requestId":` + id + `,"reason":"the server has ended"}}`))
	}
	for _, r := range lost {
		s.refuse(r, lostError(err))
	}
	if over {
		s.stop(sessionEnded("%s", plain(err)))
	}
}

// lost takes out what an ended conversation owes. The wire answers everything before the end; who stands before it may not. What may be sent again waits
// for the next; the others are returned. s.mu is held.
func (s *shim) lost() (unsafe []*request) {
	for key, r := range s.pending {
		if !r.sent {
			continue // its Write fails now
		}
		delete(s.pending, key)
		if s.safe(r) {
			s.queue(r)
		} else {
			unsafe = append(unsafe, r)
		}
	}
	return unsafe
}

func lostError(err error) *wire.Error {
	return wire.NewError(wire.CodeUnknown, "the conversation ended before the answer", wire.Facts{Why: plain(err)})
}
