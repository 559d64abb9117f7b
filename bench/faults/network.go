//go:build linux

package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Network is every link of a run: a gate before each node for its clients, and one for the other nodes. Who is at the other end of a connection is
// read from its first line, so that each pair can be cut apart from the others. All methods may be called concurrently.
type Network struct {
	mu    sync.Mutex
	state *sync.Cond
	gates map[string]*gate
	ids   map[string]string // the servers' ids, which are new at each start
	cut   map[way]bool
	slow  map[way]time.Duration
	conns map[*pipe]struct{}
	done  bool
	work  sync.WaitGroup
}

// way is one direction of what two processes say to each other, whoever called whom.
type way struct{ from, to string }

// gate is a listener that stands for one of a node's.
type gate struct {
	node   string
	listen net.Listener
	behind string // the address of the real one
	down   bool   // its process is not there: refuse, and do not wait
}

// pipe is one connection through a gate.
type pipe struct {
	near, far net.Conn // near is who called
	a, b      string   // their names; a is "" until it has been read
}

// NewNetwork is a network without gates.
func NewNetwork() *Network {
	n := &Network{gates: map[string]*gate{}, ids: map[string]string{}, cut: map[way]bool{}, slow: map[way]time.Duration{}, conns: map[*pipe]struct{}{}}
	n.state = sync.NewCond(&n.mu)
	return n
}

// Gate opens a gate for a node and returns its address. What it is called tells a node's gates apart.
func (n *Network) Gate(called, node string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	g := &gate{node: node, listen: l}
	n.mu.Lock()
	n.gates[called] = g
	n.mu.Unlock()
	n.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n.work.Go(func() { n.carry(g, conn) })
		}
	})
	return l.Addr().String(), nil
}

// Behind says where a gate leads to; "" is nowhere.
func (n *Network) Behind(called, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.gates[called]
	g.behind, g.down = address, address == ""
	n.state.Broadcast()
}

// Known says which process a server's id belongs to.
func (n *Network) Known(id, process string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids[id] = process
	n.state.Broadcast()
}

// Cut lets nothing more through from one process to another. What is on its way arrives when it is healed, as with TCP; a new connection hangs.
func (n *Network) Cut(from, to string) { n.set(func() { n.cut[way{from, to}] = true }) }

// Delay holds everything from one process to another up for so long.
func (n *Network) Delay(from, to string, d time.Duration) {
	n.set(func() { n.slow[way{from, to}] = d })
}

// Heal takes all cuts and delays away.
func (n *Network) Heal() {
	n.set(func() {
		clear(n.cut)
		clear(n.slow)
	})
}

// Mend takes the cuts and delays of one process away.
func (n *Network) Mend(process string) {
	n.set(func() {
		for w := range n.cut {
			if w.from == process || w.to == process {
				delete(n.cut, w)
			}
		}
		for w := range n.slow {
			if w.from == process || w.to == process {
				delete(n.slow, w)
			}
		}
	})
}

func (n *Network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	n.state.Broadcast()
}

// Reset breaks the connections between two processes.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.conns {
		if p.a == a && p.b == b || p.a == b && p.b == a {
			p.close()
		}
	}
}

// Close ends all connections and gates and waits for what carries them.
func (n *Network) Close() {
	n.mu.Lock()
	n.done = true
	for _, g := range n.gates {
		_ = g.listen.Close()
	}
	for p := range n.conns {
		p.close()
	}
	n.state.Broadcast()
	n.mu.Unlock()
	n.work.Wait()
}

func (p *pipe) close() {
	_ = p.near.Close()
	_ = p.far.Close()
}

// carry connects who called with the node behind the gate.
func (n *Network) carry(g *gate, near net.Conn) {
	defer near.Close()
	far, err := n.dial(g)
	if err != nil {
		return
	}
	p := &pipe{near: near, far: far, b: g.node}
	n.mu.Lock()
	if n.done {
		n.mu.Unlock()
		p.close()
		return
	}
	n.conns[p] = struct{}{}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.conns, p)
		n.mu.Unlock()
		p.close()
	}()
	var both sync.WaitGroup
	both.Go(func() { n.pump(p, far, near, nil, false) })
	defer both.Wait()
	r := bufio.NewReaderSize(near, 64<<10)
	first, err := r.ReadString('\n') // a server speaks first, then its caller says who he is
	if err != nil || !n.introduce(p, first) {
		p.close()
		return
	}
	n.pump(p, r, far, []byte(first), true)
}

func (n *Network) dial(g *gate) (net.Conn, error) {
	n.mu.Lock()
	for g.behind == "" && !g.down && !n.done {
		n.state.Wait()
	}
	address, gone := g.behind, g.behind == ""
	n.mu.Unlock()
	if gone {
		return nil, net.ErrClosed
	}
	return net.DialTimeout("tcp", address, 5*time.Second)
}

// introduce reads a CONNECT line: a server gives its id for a name, a client the name that it was given, as the last word.
func (n *Network) introduce(p *pipe, line string) bool {
	text, ok := strings.CutPrefix(line, "CONNECT ")
	var hello struct {
		Name string `json:"name"`
	}
	if !ok || json.Unmarshal([]byte(text), &hello) != nil {
		return false
	}
	words := strings.Fields(hello.Name)
	if len(words) == 0 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(words) > 1 {
		p.a = words[len(words)-1]
		return true
	}
	for n.ids[words[0]] == "" && !n.done { // the node is about to say it
		n.state.Wait()
	}
	p.a = n.ids[words[0]]
	return p.a != ""
}

// parcel is what was read at one end and waits to be written at the other.
type parcel struct {
	data []byte
	at   time.Time
	end  bool
}

// pump carries one direction of a pipe: toFar says which.
func (n *Network) pump(p *pipe, from io.Reader, to net.Conn, first []byte, toFar bool) {
	queue := make(chan parcel, 64)
	var writer sync.WaitGroup
	writer.Go(func() {
		for c := range queue {
			if !n.pass(p, c.at, toFar) {
				continue
			}
			if c.end {
				p.close() // with both halves: neither NATS nor nats.go uses half a connection
			} else if _, err := to.Write(c.data); err != nil {
				p.close()
			}
		}
	})
	if first != nil {
		queue <- parcel{data: first, at: time.Now()}
	}
	for {
		buf := make([]byte, 32<<10)
		k, err := from.Read(buf)
		if k > 0 {
			queue <- parcel{data: buf[:k], at: time.Now()}
		}
		if err != nil {
			queue <- parcel{at: time.Now(), end: true}
			break
		}
	}
	close(queue)
	writer.Wait()
}

// pass waits until a parcel may go on; false when the network is closed.
func (n *Network) pass(p *pipe, at time.Time, toFar bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if n.done {
			return false
		}
		w := way{p.a, p.b}
		if !toFar {
			w = way{p.b, p.a}
		}
		if p.a == "" || !n.cut[w] {
			wait := n.slow[w] - time.Since(at)
			if p.a == "" || wait <= 0 {
				return true
			}
			timer := time.AfterFunc(wait, n.state.Broadcast)
			n.state.Wait()
			timer.Stop()
			continue
		}
		n.state.Wait()
	}
}

// String lists what is cut and slow, for a failure's text.
func (n *Network) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("cut %v, slow %v, %d connections", n.cut, n.slow, len(n.conns))
}
