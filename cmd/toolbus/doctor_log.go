package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/toolbus/toolbus/registry"
)

func (p *patient) checkJetStream(ctx context.Context) {
	js, err := jetstream.New(p.link.conn.NATS())
	if err == nil {
		var account *jetstream.AccountInfo
		if account, err = js.AccountInfo(ctx); err == nil {
			used, limit := account.Store, account.Limits.MaxStore
			if limit > 0 && float64(used) > 0.9*float64(limit) {
				p.say("jetstream", stateWarning, "raise the account's limit, or remove streams: NATS refuses writes when it is full", "the account has used %d of %d bytes of storage", used, limit)
				return
			}
			p.ok("jetstream", "%s, %d bytes stored", count(account.Streams, "stream"), used)
			return
		}
	}
	p.say("jetstream", stateFailed, "enable JetStream in nats-server's configuration, give the account access, or wait for a quorum", "JetStream does not answer: %s", plain(err))
}

func (p *patient) checkLog(ctx context.Context) {
	info, err := p.link.store.Info(ctx)
	if err != nil {
		p.say("log", stateFailed, "see what nats-server says; with three servers two have to be there", "the scope's log does not answer: %s", plain(err))
		return
	}
	p.info = &info
	if !info.Exists {
		p.ok("log", "scope %s has none yet: nobody has registered anything", p.e.scope)
		return
	}
	if len(info.Warnings) > 0 {
		p.say("log", stateWarning, "put the stream KV_toolbus_"+p.e.scope+" back as toolbus makes it: nats stream edit", "it is not as it should be").Detail = info.Warnings
		return
	}
	p.ok("log", "revision %d, since %s, TTL %s", info.Last, info.Created.UTC().Format(time.RFC3339), info.Metadata[registry.MetadataTTL])
}

// lagMuch is how many entries a copy may lack before doctor speaks of it: a copy is always a little behind.
const lagMuch = 1000

func (p *patient) checkReplicas(context.Context) {
	switch {
	case p.info.Replicas > 1 && p.info.Leader == "":
		p.say("replicas", stateFailed, "an election takes a second or several; if it lasts, more than half of the servers are needed", "the log has no leader: nothing can be written")
		return
	case p.info.Replicas == 1 && p.info.Servers >= 3:
		p.say("replicas", stateWarning, "nats stream edit KV_toolbus_"+p.e.scope+" --replicas 3", "one copy, on a cluster of %d servers: with that server everything is gone", p.info.Servers)
		return
	}
	var late []string
	for server, lag := range p.info.Behind {
		if lag > lagMuch {
			late = append(late, fmt.Sprintf("%s lacks %d entries", server, lag))
		}
	}
	if slices.Sort(late); len(late) > 0 {
		p.say("replicas", stateWarning, "see whether that server is overloaded, or its disk slow", "copies are far behind").Detail = late
		return
	}
	leader := p.info.Leader
	if leader == "" {
		leader = "a server alone"
	}
	p.ok("replicas", "%d of the log, led by %s", p.info.Replicas, leader)
}

// clockFar is how far two clocks may be apart. Nothing is decided by comparing clocks; people do, and TLS does.
const clockFar = 2 * time.Second

func (p *patient) checkClock(ctx context.Context) {
	began := time.Now()
	info, err := p.link.store.Info(ctx)
	took := time.Since(began)
	if err != nil || info.Time.IsZero() {
		p.say("clock", stateSkipped, "", "the log's leader does not tell its time")
		return
	}
	apart := info.Time.Sub(began.Add(took / 2))
	if apart.Abs() > clockFar+took {
		p.say("clock", stateWarning, "set the clocks right (NTP): the registry does not mind, but the times that it shows are wrong", "the clock of the log's leader is %s from this machine's", apart.Round(time.Millisecond))
		return
	}
	p.ok("clock", "that of the log's leader is within %s of this machine's", (apart.Abs() + took).Round(time.Millisecond))
}

func (p *patient) checkRecords(ctx context.Context) {
	snap, err := registry.Load(ctx, p.link.store)
	if err != nil {
		p.say("records", stateFailed, "see the check of the log", "they cannot be read: %s", plain(err))
		return
	}
	p.snap = snap
	audit := snap.Audit()
	if n := len(audit.Bad); n > 0 {
		p.say("records", stateWarning, "they hold no name; whoever wrote them by hand may remove them: nats kv del toolbus_"+p.e.scope+" KEY", "%s cannot be read", count(n, "record")).Detail = oddities(audit.Bad)
	}
	if n := len(audit.Foreign); n > 0 {
		p.say("records", stateWarning, "another tool writes here, or a later version of toolbus: keep other data in another bucket", "%s of an unknown kind", count(n, "record")).Detail = oddities(audit.Foreign)
	}
	if len(audit.Bad)+len(audit.Foreign) == 0 {
		p.ok("records", "%s, %s, %s", count(audit.Records, "record"), count(len(snap.Names()), "name"), count(len(snap.Leases()), "session"))
	}
}

// fewOddities is how many of a long list are shown to people.
const fewOddities = 10

func oddities(list []registry.Oddity) (out []string) {
	for _, o := range list[:min(fewOddities, len(list))] {
		out = append(out, fmt.Sprintf("%s at revision %d: %s", o.Key, o.Revision, o.Why))
	}
	if more := len(list) - fewOddities; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

// checkOrphans waits a moment for who keeps the scope to sweep what has just died, and speaks of what stays.
func (p *patient) checkOrphans(ctx context.Context) {
	orphans := p.snap.Audit().Orphans
	for end := time.Now().Add(min(3*time.Second, p.e.timeout/2)); len(orphans) > 0 && time.Now().Before(end) && ctx.Err() == nil; {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
		if snap, err := registry.Load(ctx, p.link.store); err == nil {
			p.snap, orphans = snap, snap.Audit().Orphans
		}
	}
	if len(orphans) == 0 {
		p.ok("orphans", "no record of a dead session is left over")
		return
	}
	f := p.say("orphans", stateWarning, "toolbus doctor --fix removes them; who keeps the scope does too, by and by", "%s of dead sessions: they hold nothing", count(len(orphans), "record"))
	f.Detail = oddities(orphans)
	if !p.fix {
		return
	}
	removed, err := registry.Sweep(ctx, p.link.store, orphans)
	if err != nil {
		f.State, f.What = stateFailed, fmt.Sprintf("%s removed, then: %s", count(removed, "record"), plain(err))
		return
	}
	f.Fixed, f.What = true, fmt.Sprintf("%s of dead sessions removed", count(removed, "record"))
}

// checkView compares what a view has that follows the feed with what the log's leader has, at one revision.
func (p *patient) checkView(ctx context.Context) {
	reg, done, err := p.e.view(ctx, p.link)
	if err != nil {
		p.say("view", stateFailed, "see the check of the log", "no view can be opened: %s", plain(err))
		return
	}
	defer done()
	began := time.Now()
	if err := reg.Refresh(ctx); err != nil {
		p.say("view", stateFailed, "writes need a quorum: see the check of the replicas", "a barrier cannot be written: %s", plain(err))
		return
	}
	took := time.Since(began)
	for range 5 { // a log that is written to moves between two readings
		snap, err := registry.Load(ctx, p.link.store)
		if err != nil || reg.WaitFor(ctx, snap.Revision()) != nil {
			break
		}
		names := reg.Names()
		if reg.Revision() != snap.Revision() {
			continue
		}
		if slices.Equal(names, snap.Names()) {
			p.ok("view", "what a view has that follows the feed is what the log has; a barrier took %s", took.Round(time.Millisecond))
			return
		}
		p.say("view", stateFailed, "somebody else publishes on toolbus.feed."+p.e.scope+".>, or may not: only the server may", "a view shows %s, the log %s, at revision %d",
			count(len(names), "name"), count(len(snap.Names()), "name"), snap.Revision())
		return
	}
	p.ok("view", "a barrier took %s; the log is too busy to compare", took.Round(time.Millisecond))
}
