package bus

import (
	"net"
)

// inProcess makes the in-process connections of a node. A server that shuts down, or is a lame duck, takes a new one and then leaves it
// alone, and nats.go waits for a minute to write to it, with the connection's lock held: Close would hang as long. So a node that ends
// makes no new ones and closes those there are.
type inProcess struct{ node *Node }

func (p inProcess) InProcessConn() (net.Conn, error) {
	n := p.node
	if n.isClosing() {
		return nil, ErrClosed
	}
	raw, err := n.srv.InProcessConn()
	if err != nil {
		return nil, err
	}
	c := &pipeConn{Conn: raw, node: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		raw.Close()
		return nil, ErrClosed
	}
	n.pipes[c] = struct{}{}
	return c, nil
}

type pipeConn struct {
	net.Conn
	node *Node
}

func (c *pipeConn) Close() error {
	c.node.mu.Lock()
	delete(c.node.pipes, c)
	c.node.mu.Unlock()
	return c.Conn.Close()
}

func (n *Node) isClosing() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closing
}

// refuse makes no more in-process connections from here on.
func (n *Node) refuse() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closing = true
}

// closeConns closes what Connect made, at once and without drain: the server is gone, or about to go.
func (n *Node) closeConns(why string) {
	n.mu.Lock()
	n.closing = true
	conns := make([]*Conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		c.link.end(why) // first: else the loss of the connection would be told
	}
	n.mu.Lock()
	for c := range n.pipes {
		c.Conn.Close()
	}
	n.mu.Unlock()
	for _, c := range conns {
		c.abort(why)
	}
}
