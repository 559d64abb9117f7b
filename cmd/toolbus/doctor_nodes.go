package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// nodeInfo is what a node says of itself as a NATS service.
type nodeInfo struct {
	ID       string            `json:"id"`
	Version  string            `json:"version"`
	Metadata map[string]string `json:"metadata"`
}

// checkNodes asks all nodes to say who they are: those that do within a short while.
func (p *patient) checkNodes(ctx context.Context) {
	nodes, err := p.askNodes(ctx)
	if err != nil {
		p.say("nodes", stateFailed, "the client may need permission to ask $SRV.INFO.toolbus", "the nodes cannot be asked: %s", plain(err))
		return
	}
	p.nodes = nodes
	if len(nodes) == 0 {
		p.say("nodes", stateWarning, "toolbus up, or toolbus up --nats URL on a NATS of your own", "no node of toolbus answers: the scope is kept by servers' own processes")
		return
	}
	versions, names := map[string]bool{}, map[string]int{}
	for _, n := range nodes {
		versions[n.Version] = true
		names[n.Metadata["node"]]++
	}
	for name, n := range names {
		if n > 1 {
			p.say("nodes", stateWarning, "give each another --name: people cannot tell them apart", "%d nodes are called %q", n, name)
			return
		}
	}
	if len(versions) > 1 {
		p.say("nodes", stateWarning, "fine while you upgrade; else upgrade the others too", "%s of %s", count(len(nodes), "node"), count(len(versions), "version")).Detail = p.describeNodes()
		return
	}
	p.ok("nodes", "%s: %s", count(len(nodes), "node"), strings.Join(slices.Sorted(keysOf(names)), ", "))
}

func keysOf(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (p *patient) describeNodes() (out []string) {
	for _, n := range p.nodes {
		out = append(out, fmt.Sprintf("%s: version %s, election timeout %s", n.Metadata["node"], n.Version, n.Metadata["election"]))
	}
	slices.Sort(out)
	return out
}

// nodesQuiet is how long nothing more has to come before all are taken to have answered.
const nodesQuiet = 300 * time.Millisecond

func (p *patient) askNodes(ctx context.Context) (nodes []nodeInfo, err error) {
	nc := p.link.conn.NATS()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() // an error means that the connection is gone
	if err := nc.PublishRequest("$SRV.INFO.toolbus", inbox, nil); err != nil {
		return nil, err
	}
	for {
		next, cancel := context.WithTimeout(ctx, nodesQuiet)
		msg, err := sub.NextMsgWithContext(next)
		cancel()
		if err != nil {
			return nodes, ctx.Err() // nobody more
		}
		if msg.Header.Get("Status") == "503" {
			return nodes, nil
		}
		var n nodeInfo
		if json.Unmarshal(msg.Data, &n) == nil && n.Metadata["scope"] == p.e.scope {
			nodes = append(nodes, n)
		}
	}
}

// checkElection compares the election timeouts of the nodes. Those of other servers nobody tells.
func (p *patient) checkElection(context.Context) {
	timeouts := map[string]int{}
	for _, n := range p.nodes {
		if t := n.Metadata["election"]; t != "" {
			timeouts[t]++
		}
	}
	switch len(timeouts) {
	case 0:
		p.say("election", stateSkipped, "", "no node of ours has a server: NATS' own timing, 5 to 9 s without writes after a leader's death")
	case 1:
		p.ok("election", "all nodes elect within %s", slices.Sorted(keysOf(timeouts))[0])
	default:
		p.say("election", stateFailed, "start all nodes with the same --election-timeout: one that is impatient deposes leaders that live", "the nodes' election timeouts differ").Detail = p.describeNodes()
	}
}

func (p *patient) checkPulse(context.Context) {
	keeper, ok := p.snap.Keeper()
	sessions := len(p.snap.Leases())
	switch {
	case !ok && sessions == 0:
		p.ok("pulse", "there is none, and nobody to call: the scope has no sessions")
		return
	case !ok:
		p.say("pulse", stateFailed, "start a node (toolbus up), or any server: whoever registers keeps the scope", "nobody keeps the scope: %s may be dead and still shown", count(sessions, "session"))
		return
	}
	if age := p.e.out.now().Sub(keeper.At); age > pulseStale {
		p.say("pulse", stateFailed, "if it does not come back within seconds, start a node: toolbus up", "the last pulse, of %s, is %s old", keeper.Node, age.Round(time.Second))
		return
	}
	if keeper.Role != "node" && len(p.nodes) > 0 {
		p.say("pulse", stateWarning, "a node takes it over within seconds; if it does not, see the nodes' logs", "it is kept by %s, a process that is no node, though there are nodes", keeper.Node)
		return
	}
	p.ok("pulse", "kept by %s, %d of %d sessions answered the last roll call", keeper.Node, keeper.Answered, keeper.Sessions)
}

// checkAnswers asks every session whether it is there.
func (p *patient) checkAnswers(ctx context.Context) {
	leases := p.snap.Leases()
	var sessions []string
	for _, l := range leases {
		sessions = append(sessions, l.Session)
	}
	silent := p.e.probe(ctx, p.link, sessions)
	var who []string
	for _, l := range leases {
		if silent[l.Session] {
			who = append(who, fmt.Sprintf("session %s of %s, pid %d on %s", l.Session, l.Node, l.PID, l.Host))
		}
	}
	if len(who) == 0 {
		p.ok("answers", "%s answered", count(len(leases), "session"))
		return
	}
	p.say("answers", stateWarning, "frozen or just killed: its names are free after the TTL at the latest", "%s of %d do not answer", count(len(who), "session"), len(leases)).Detail = who
}

// checkCapture looks for streams that record calls and acknowledge them: their acknowledgement looks like the answer of a dead server.
func (p *patient) checkCapture(ctx context.Context) {
	js, err := jetstream.New(p.link.conn.NATS())
	if err != nil {
		p.say("capture", stateSkipped, "", "%s", plain(err))
		return
	}
	var bad []string
	names := js.ListStreams(ctx)
	for info := range names.Info() {
		if info.Config.NoAck || strings.HasPrefix(info.Config.Name, "KV_toolbus_") {
			continue
		}
		for _, subject := range info.Config.Subjects {
			for _, ours := range []string{"mcp.v1." + p.e.scope + ".rq.tools/list._.x", "toolbus.feed." + p.e.scope + ".x", "toolbus.ctl." + p.e.scope + ".x"} {
				if matches(subject, ours) {
					bad = append(bad, fmt.Sprintf("stream %s records %s", info.Config.Name, subject))
				}
			}
		}
	}
	if err := names.Err(); err != nil {
		p.say("capture", stateSkipped, "", "the streams cannot be listed: %s", plain(err))
		return
	}
	if len(bad) > 0 {
		p.say("capture", stateFailed, "nats stream edit NAME --no-ack: a stream that acknowledges answers calls to dead names", "calls are recorded by a stream that acknowledges them").Detail = slices.Compact(bad)
		return
	}
	p.ok("capture", "no stream answers calls")
}

// matches tells whether a subject with wildcards takes another.
func matches(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range want {
		switch {
		case token == ">":
			return i < len(have)
		case i >= len(have) || token != "*" && token != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}
