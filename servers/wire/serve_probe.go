package wire

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// beat tells those who wait that the instance lives, and ends what nobody waits for.
func (s *Serving) beat() {
	s.mu.Lock()
	var calls []*call
	for _, c := range s.calls {
		if c.missing != nil && time.Since(c.since) > goneEvery {
			calls = append(calls, c)
		}
	}
	busy := map[*session]bool{}
	for _, c := range s.calls {
		busy[c.of] = true
	}
	var sessions []*session
	for _, session := range s.sessions {
		sessions = append(sessions, session)
	}
	s.answered.age(time.Now())
	s.mu.Unlock()
	for _, c := range calls {
		if c.address() != "" {
			s.server.ask(c.missing)
		}
	}
	for _, session := range sessions {
		if session.lacking() {
			session.end(session.broken("frames of the client were lost"), true)
		} else if !session.detached || session.down.address() != "" {
			s.server.ask(session.missing)
		} else if session.unused(busy[session]) {
			session.end(session.broken("nobody has used it for "+session.idle.String()), true)
		}
	}
}

// state is the answer to a probe: what the instance has of one caller, by the ends of its reply subjects, with the frames sent.
type state struct {
	Calls    map[string]uint64 `json:"calls"`
	Sessions map[string]uint64 `json:"sessions"`
	Heard    map[string]uint64 `json:"heard"` // the last frame of a session's client, by the last token but one of its reply subjects
}

func (s *Serving) probe(msg *nats.Msg) {
	var ask struct{ Inbox string }
	if err := json.Unmarshal(msg.Data, &ask); err != nil || msg.Reply == "" {
		return
	}
	answer := state{Calls: map[string]uint64{}, Sessions: map[string]uint64{}, Heard: map[string]uint64{}}
	s.mu.Lock()
	calls, sessions := map[string]*stream{}, map[string]*session{}
	for _, session := range s.sessions { // before the calls: what leaves a session's queue becomes one
		session.mu.Lock()
		for from, up := range session.ups {
			if tag, ok := strings.CutPrefix(from, ask.Inbox+"."); ok {
				answer.Heard[strings.TrimSuffix(tag, ".")] = up.seq
			}
		}
		for reply := range session.taken {
			if tail, ok := strings.CutPrefix(reply, ask.Inbox+"."); ok {
				calls[tail] = nil
			}
		}
		session.mu.Unlock()
	}
	for _, c := range s.calls {
		if tail, ok := strings.CutPrefix(c.address(), ask.Inbox+"."); ok {
			calls[tail] = &c.stream
		}
	}
	for id, session := range s.sessions {
		tail, ok := strings.CutPrefix(session.down.address(), ask.Inbox+".")
		switch {
		case ok && session.detached:
			calls[tail] = session.down
		case ok:
			sessions[id] = session
		}
	}
	for _, stream := range s.answered.waiting() {
		if tail, ok := strings.CutPrefix(stream.address(), ask.Inbox+"."); ok {
			calls[tail] = stream
		}
	}
	s.mu.Unlock()
	for tail, c := range calls {
		if answer.Calls[tail] = 0; c != nil {
			answer.Calls[tail] = c.sent()
		}
	}
	for id, session := range sessions {
		answer.Sessions[id] = session.down.sent()
	}
	body, _ := json.Marshal(answer)
	_ = s.server.nc.PublishMsg(&nats.Msg{Subject: msg.Reply, Data: body, Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {frameBeat}, HeaderInstance: {s.opts.Instance}, HeaderLease: {s.opts.Lease},
	}})
}
