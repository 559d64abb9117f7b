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
	var sessions []*session
	for _, session := range s.sessions {
		sessions = append(sessions, session)
	}
	s.mu.Unlock()
	for _, c := range calls {
		s.server.ask(c.missing)
	}
	for _, session := range sessions {
		s.server.ask(session.missing)
	}
}

// state is the answer to a probe: what the instance has of one caller, by the ends of its reply subjects, with the frames sent.
type state struct {
	Calls    map[string]uint64 `json:"calls"`
	Sessions map[string]uint64 `json:"sessions"`
}

func (s *Serving) probe(msg *nats.Msg) {
	var ask struct{ Inbox string }
	if err := json.Unmarshal(msg.Data, &ask); err != nil || msg.Reply == "" {
		return
	}
	s.mu.Lock()
	calls, sessions := map[string]*call{}, map[string]*session{}
	for _, session := range s.sessions { // before the calls: what leaves a session's queue becomes one
		session.mu.Lock()
		for reply := range session.taken {
			if tail, ok := strings.CutPrefix(reply, ask.Inbox+"."); ok {
				calls[tail] = nil
			}
		}
		session.mu.Unlock()
	}
	for reply, c := range s.calls {
		if tail, ok := strings.CutPrefix(reply, ask.Inbox+"."); ok {
			calls[tail] = c
		}
	}
	for id, session := range s.sessions {
		if strings.HasPrefix(session.down.subject, ask.Inbox+".") {
			sessions[id] = session
		}
	}
	s.mu.Unlock()
	answer := state{Calls: map[string]uint64{}, Sessions: map[string]uint64{}}
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
