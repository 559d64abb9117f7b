package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	readyPoll  = 10 * time.Millisecond
	pingGather = 500 * time.Millisecond // how long the answers of other servers are awaited
)

// WaitReady waits until JetStream can be used. For a node alone it is at once. In a cluster it takes a leader that this node follows and
// knows to be up to date: at the very first start that takes all nodes, later a majority. It also asks the other nodes for their election
// timeout: where it differs the error is *ElectionError, and the node is to be closed, since two timings in one Raft group make it elect
// for ever. When ctx ends first the error is *NotReadyError and names the nodes that are missing. ErrClosed when the node stops.
func (n *Node) WaitReady(ctx context.Context) error {
	if n.cluster == nil {
		if !n.srv.JetStreamEnabled() {
			return fmt.Errorf("bus: node %q: %w", n.name, ErrClosed)
		}
		return nil
	}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	checked := -1 // how many servers the last check saw
	for {
		if have := n.srv.NumRemotes() + 1; have > checked {
			servers := n.ping(have)
			if err := n.checkElection(servers); err != nil {
				return err
			}
			checked = len(servers)
		}
		if leader := n.metaLeader(); leader != "" && n.srv.JetStreamIsCurrent() && checked > len(n.cluster.Nodes)/2 {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.down:
			return fmt.Errorf("bus: node %q: %w", n.name, ErrClosed)
		case <-ctx.Done():
			return n.notReady(context.Cause(ctx))
		}
	}
}

func (n *Node) metaLeader() string {
	jsz, err := n.srv.Jsz(&server.JSzOptions{})
	if err != nil || jsz.Meta == nil {
		return ""
	}
	return jsz.Meta.Leader
}

// pong is the part of a server's answer to $SYS.REQ.SERVER.PING that matters here.
type pong struct {
	Server struct {
		ID       string            `json:"id"`
		Name     string            `json:"name"`
		Metadata map[string]string `json:"metadata"`
	} `json:"server"`
}

// ping asks all servers of the cluster who they are; want is how many answers to wait for.
func (n *Node) ping(want int) []pong {
	inbox := n.sys.NewRespInbox()
	sub, err := n.sys.SubscribeSync(inbox)
	if err != nil {
		return nil
	}
	defer sub.Unsubscribe()
	if err := n.sys.PublishRequest("$SYS.REQ.SERVER.PING", inbox, nil); err != nil {
		return nil
	}
	var all []pong
	deadline := time.Now().Add(pingGather)
	for len(all) < want {
		m, err := sub.NextMsg(time.Until(deadline))
		if err != nil {
			break
		}
		var p pong
		if err := json.Unmarshal(m.Data, &p); err == nil && p.Server.ID != "" {
			all = append(all, p)
		}
	}
	return all
}

func (n *Node) checkElection(servers []pong) error {
	for _, p := range servers {
		text := p.Server.Metadata[metaElection]
		theirs, _ := time.ParseDuration(text) // 0: a server that is none of ours, with NATS' own timing
		if theirs != n.election {
			return &ElectionError{Node: p.Server.Name, Theirs: theirs, Ours: n.election}
		}
	}
	return nil
}

func (n *Node) notReady(cause error) error {
	e := &NotReadyError{Node: n.name, Leader: n.metaLeader(), Cause: cause}
	have := []string{n.self}
	for _, p := range n.ping(n.srv.NumRemotes() + 1) {
		have = append(have, p.Server.Metadata[metaRoute])
	}
	for _, node := range n.cluster.Nodes {
		if !slices.Contains(have, node) {
			e.Missing = append(e.Missing, node)
		}
	}
	if len(e.Missing) > 0 {
		e.Hint = n.srvLog.routeHint()
	}
	return e
}

// eachConn calls fn for each open connection that Connect made.
func (n *Node) eachConn(fn func(*Conn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		fn(c)
	}
}

var _ nats.InProcessConnProvider = (*server.Server)(nil)
