package bus

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// peerWatch follows the node's routes. NATS says nothing when a server is killed, but its routes break: at once where the kernel closes
// the sockets, after missed pings where the host is gone. Two servers share several routes (a pool), so a peer is lost when none is left; and a
// route may be replaced, so it is lost only if it is still gone a moment later.
type peerWatch struct {
	node *Node
	wake chan struct{}
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	seen     map[string]string // server id -> name: connected now
	leaving  map[string]bool   // id -> the loss was told already
	majority bool
	first    bool
}

const (
	peerPoll  = 100 * time.Millisecond // the log line of a closed route comes first; this is for the case that it does not
	peerFull  = 10                     // every so many polls look at the whole list: one may have gone and another come
	peerGrace = 15 * time.Millisecond
)

func newPeerWatch(n *Node) *peerWatch {
	return &peerWatch{node: n, wake: make(chan struct{}, 1), seen: map[string]string{}, leaving: map[string]bool{}}
}

// kick makes the watch look now. It is called by the server's logger, so it must not block.
func (p *peerWatch) kick() {
	if p == nil {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *peerWatch) start() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.look(p.connected())
	p.wg.Go(func() { p.run(ctx) })
}

func (p *peerWatch) close() {
	if p.stop != nil {
		p.stop()
		p.wg.Wait()
	}
}

func (p *peerWatch) run(ctx context.Context) {
	tick := time.NewTicker(peerPoll)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-p.node.down:
			return
		case <-tick.C:
			// The list of routes costs a third of what an idle node costs at all; their number is for free.
			if n%peerFull != 0 && p.node.srv.NumRemotes() == p.count() {
				continue
			}
		case <-p.wake:
		}
		now := p.connected()
		if p.lacks(now) {
			// Look again after a moment: a pool is rebuilt, or two routes crossed and one of them was closed.
			select {
			case <-ctx.Done():
				return
			case <-time.After(peerGrace):
			}
			now = p.connected()
		}
		p.look(now)
	}
}

// connected is the set of servers that a route leads to.
func (p *peerWatch) connected() map[string]string {
	now := map[string]string{}
	routes, err := p.node.srv.Routez(nil)
	if err != nil {
		return now
	}
	for _, r := range routes.Routes {
		if r.RemoteID != "" {
			now[r.RemoteID] = r.RemoteName
		}
	}
	return now
}

func (p *peerWatch) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.seen)
}

func (p *peerWatch) lacks(now map[string]string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.seen {
		if _, ok := now[id]; !ok {
			return true
		}
	}
	return false
}

// look compares with what was seen before, and tells.
func (p *peerWatch) look(now map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, name := range p.seen {
		if _, ok := now[id]; ok {
			continue
		}
		switch told, leaving := p.leaving[id]; {
		case !leaving:
			p.node.log.Warn("lost the route to a node", "node", p.node.name, "peer", name, "id", id)
			p.node.tellLost(id, "", LostRoute)
		case !told:
			p.node.tellLost(id, "", LostShutdown)
		}
		delete(p.leaving, id)
	}
	for id, name := range now {
		if _, ok := p.seen[id]; !ok {
			p.node.log.Info("route to a node", "node", p.node.name, "peer", name, "id", id)
		}
	}
	p.seen = now
	all := len(p.node.cluster.Nodes)
	have := len(now) + 1
	if majority := have > all/2; majority != p.majority || !p.first {
		p.majority, p.first = majority, true
		why := fmt.Sprintf("this node sees %d of %d nodes: no majority", have, all)
		if majority {
			why = fmt.Sprintf("this node sees %d of %d nodes", have, all)
		}
		p.node.eachConn(func(c *Conn) { c.link.setMajority(majority, why) })
	}
}

// state is what a new connection of the node starts with.
func (p *peerWatch) state() (majority bool, why string) {
	if p == nil {
		return true, ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.majority, fmt.Sprintf("this node sees %d of %d nodes: no majority", len(p.seen)+1, len(p.node.cluster.Nodes))
}

// shutdown notes that a server said goodbye; its routes will close, and that is no second loss. A lame duck still serves: it is lost when
// they close.
func (p *peerWatch) shutdown(id string, lameDuck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, seen := p.seen[id]; seen {
		if told := p.leaving[id]; told {
			return
		}
		p.leaving[id] = !lameDuck
		if lameDuck {
			return
		}
	}
	p.node.tellLost(id, "", LostShutdown)
}
