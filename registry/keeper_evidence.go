package registry

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// suspicion is evidence against one session, and how far the question has come: it is listed in a pulse, then a grace runs, then the verdict.
type suspicion struct {
	reason   Reason
	grace    time.Duration
	since    time.Duration    // when it arose
	listed   kvstore.Revision // the pulse that lists it; 0: not yet
	revision kvstore.Revision // of its lease then: the verdict is guarded by it
	acked    time.Duration    // when that pulse was acknowledged: the grace counts from here
}

// verdict ends one session, if its lease is still at that revision.
type verdict struct {
	session  string
	revision kvstore.Revision
	reason   Reason
}

// Grace: how long a suspect has, from the acknowledgement of the pulse that lists it.
const (
	graceDisconnect = 30 * time.Millisecond  // its connection ended: a client that lives is back at once
	graceOneServer  = 250 * time.Millisecond // the same, where it knows one server only: it waits before it tries that again
	graceNoListener = 500 * time.Millisecond // nobody listens for it
	graceServerLost = 700 * time.Millisecond // the server that carried it is gone
	graceServerSays = 2 * time.Second        // the server ended its connection, for a reason of its own
)

// evidence is what this process has heard of lost connections and servers. A candidate collects it too: who becomes the keeper because the last
// one died with a server has to know who else was on it.
type evidence struct {
	conns   map[[2]string]lostConn // server and client
	servers map[string]time.Duration
}

type lostConn struct {
	at     time.Duration
	reason string
}

// evidenceKept is how long it is remembered: longer than an election.
const evidenceKept = 30 * time.Second

func (e *evidence) init() {
	e.conns, e.servers = map[[2]string]lostConn{}, map[string]time.Duration{}
}

func (e *evidence) forget(now time.Duration) {
	for key, lost := range e.conns {
		if now-lost.at > evidenceKept {
			delete(e.conns, key)
		}
	}
	for id, at := range e.servers {
		if now-at > evidenceKept {
			delete(e.servers, id)
		}
	}
}

// lateEvidence is how much later than the event of its end something that a keeper wrote can still arrive.
const lateEvidence = 100 * time.Millisecond

// lost tells whether a connection, or the server that carried it, was lost, and not seen at work since: a server whose route broke for a moment
// is back as the same.
func (e *evidence) lost(server, client string, seen time.Duration) bool {
	if server == "" {
		return false
	}
	conn, gone := e.conns[[2]string{server, client}]
	at, down := e.servers[server]
	return gone && conn.at+lateEvidence >= seen || down && at+lateEvidence >= seen
}

// onLost hears that a connection or a server is lost.
func (k *keeper) onLost(server, client, reason string) {
	now := k.r.clock.Boot()
	k.do(func() {
		k.evidence.forget(now)
		if client == "" {
			k.evidence.servers[server] = now
		} else {
			k.evidence.conns[[2]string{server, client}] = lostConn{at: now, reason: reason}
		}
		for _, st := range k.sessions {
			if st.server == server && (client == "" || st.client == client) {
				k.recall(st)
			}
		}
	})
}

// recall weighs what is remembered against a session. One that was heard from since on another connection has nothing against it, and what it
// has answered once is not asked again.
func (k *keeper) recall(st *standing) {
	if !k.holding || st.lease.Mode == Strict || st.server == "" {
		return
	}
	now := k.r.clock.Boot()
	if lost, ok := k.evidence.conns[[2]string{st.server, st.client}]; ok && lost.at > st.cleared {
		grace := graceDisconnect
		switch {
		case lost.reason != "closed" && lost.reason != "read error":
			grace = graceServerSays
		case st.servers <= 1:
			grace = graceOneServer
		}
		k.suspect(st, ReasonDisconnected, grace, now)
	} else if at, ok := k.evidence.servers[st.server]; ok && at > st.cleared {
		k.suspect(st, ReasonServerLost, graceServerLost, now)
	}
}

// suspect puts a question against a session, unless one stands already, and asks for the pulse that lists it.
func (k *keeper) suspect(st *standing, reason Reason, grace, now time.Duration) {
	if st.suspicion != nil {
		return
	}
	st.suspicion = &suspicion{reason: reason, grace: grace, since: now}
	k.brake.add(now, len(k.sessions))
	k.extra = true
	k.r.log.Debug("suspecting", "grace", grace, "session", st.lease.Session, "node", st.lease.Node, "why", reason)
}

// suspects lists in a pulse who is under suspicion.
func (k *keeper) suspects(p *pulse) {
	for id, st := range k.sessions {
		if st.suspicion != nil && st.suspicion.listed == 0 {
			p.Suspects = append(p.Suspects, id)
		}
	}
	slices.Sort(p.Suspects)
	if len(p.Suspects) > maxListed {
		p.All, p.Suspects = true, nil
	}
}

// listed takes in that the pulse that lists the suspects was acknowledged.
func (k *keeper) listed(p *pulse, revision kvstore.Revision) {
	now := k.r.clock.Boot()
	for id, st := range k.sessions {
		if s := st.suspicion; s != nil && s.listed == 0 && p.lists(id) {
			s.listed, s.revision, s.acked = revision, st.lease.Revision, now
		}
	}
}

// verdicts says who is to be ended now, and when the next question will be ripe.
func (k *keeper) verdicts(now time.Duration) (out []verdict, due time.Duration) {
	ttl := k.r.times().ttl
	due = now + time.Hour
	braked := k.brake.on(now)
	for id, st := range k.sessions {
		if st.unanswered >= silentPulses && now-st.heard >= ttl && !braked {
			out = append(out, verdict{id, st.lease.Revision, ReasonSilent})
			continue
		}
		s := st.suspicion
		if s == nil || s.listed == 0 || braked && s.reason == ReasonServerLost {
			continue
		}
		if ripe := s.acked + s.grace; now < ripe {
			due = min(due, ripe)
		} else {
			out = append(out, verdict{id, s.revision, s.reason})
		}
	}
	if len(out) > kvstore.MaxBatch-1 {
		out = out[:kvstore.MaxBatch-1]
	}
	return out, due
}

// ended takes in that a verdict is in the log.
func (k *keeper) ended(v verdict) {
	if st := k.sessions[v.session]; st != nil {
		k.r.log.Info("session ended by the keeper", "session", v.session, "node", st.lease.Node, "pid", st.lease.PID, "reason", v.reason)
	}
	delete(k.sessions, v.session) // and the view shows it when the entry comes by
}

// acquit drops what stands against a session.
func (k *keeper) acquit(session string) {
	if st := k.sessions[session]; st != nil {
		st.unanswered, st.heard = 0, k.r.clock.Boot()
		st.clear()
	}
}

// probe asks whether anybody still listens for a session that missed a roll call.
func (k *keeper) probe(st *standing) {
	id := st.lease.Session
	if _, runs := k.probing[id]; runs || k.r.peers == nil || st.lease.Process == k.r.process || len(k.probing) >= maxProbes {
		return
	}
	k.probing[id] = struct{}{}
	k.r.spawn(func() {
		var err error
		if pause(k.r.ctx, rand.N(50*time.Millisecond)) {
			ctx, cancel := context.WithTimeout(k.r.ctx, probeTimeout)
			_, err = k.r.peers.Request(ctx, k.r.subject(id), nil)
			cancel()
		}
		k.do(func() {
			delete(k.probing, id)
			st := k.sessions[id]
			if st == nil || !k.holding || st.lease.Mode == Strict || !noResponders(err) {
				return
			}
			k.suspect(st, ReasonNoResponders, graceNoListener, k.r.clock.Boot())
		})
	})
}

// maxProbes is how many probes run at once.
const maxProbes = 64

// onReport hears from a peer that a session does not answer. It is believed only after a probe of our own.
func (k *keeper) onReport(data []byte) []byte {
	rep, ok := unmarshal[report](data)
	if !ok {
		return nil
	}
	k.do(func() {
		if st := k.sessions[rep.Session]; st != nil && k.holding && st.suspicion == nil {
			k.probe(st)
		}
	})
	return nil
}

// brake holds back verdicts when so many sessions are suspected at once that a fault of ours is more likely.
type brake struct {
	recent []time.Duration // when sessions were suspected
	since  time.Duration   // when it went on; 0: off
}

const (
	brakeWindow = 5 * time.Second
	brakeLeast  = 20
	brakeShare  = 15 // percent of all sessions
	brakeMost   = 30 * time.Second
)

// add counts one suspicion.
func (b *brake) add(now time.Duration, sessions int) {
	b.trim(now)
	b.recent = append(b.recent, now)
	if b.since == 0 && len(b.recent) >= brakeLeast && len(b.recent)*100 > sessions*brakeShare {
		b.since = now
	}
}

// on tells whether it holds: for at most brakeMost, and until brakeWindow has passed without so many.
func (b *brake) on(now time.Duration) bool {
	b.trim(now)
	if len(b.recent) == 0 {
		b.since = 0
	}
	return b.since != 0 && now-b.since < brakeMost
}

func (b *brake) trim(now time.Duration) {
	for len(b.recent) > 0 && now-b.recent[0] > brakeWindow {
		b.recent = b.recent[1:]
	}
}
