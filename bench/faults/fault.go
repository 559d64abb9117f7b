//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults. A target is a node or a client; "leader" and "keeper" are found out when the fault begins.
const (
	KillNode   Kind = "kill node"   // kill -9, and a start some time later
	PauseNode  Kind = "pause node"  // SIGSTOP and SIGCONT
	KillClient Kind = "kill client" // kill -9, and another client in its place
	PauseOwner Kind = "pause client"
	Isolate    Kind = "isolate node" // from all other nodes; clients still reach it
	Side       Kind = "partition"    // a node with some clients on one side, all else on the other
	OneWay     Kind = "one way"      // nothing of a node's reaches another; the other direction works
	Pair       Kind = "pair"         // one node from one other
	CutClient  Kind = "cut client"   // a client from all nodes, in silence
	Reset      Kind = "reset"        // all connections of a client or a node's clients break
	Slow       Kind = "slow"         // everything to and from a node is late
	RestartAll Kind = "restart all"  // kill -9 of all nodes at once
	Rolling    Kind = "roll"         // each node in turn stopped in good order and started again
)

// kinds are those of a seeded run, each as often as it is likely.
var kinds = []Kind{KillNode, KillNode, PauseNode, KillClient, KillClient, PauseOwner, PauseOwner, Isolate, Side, Side, OneWay, Pair, CutClient, Reset, Slow, RestartAll, Rolling}

// Fault is one fault of a schedule.
type Fault struct {
	Kind   Kind
	Target int // a node or a client, by number; of a node -1 is the leader, -2 the keeper
	Other  int // a node
	After  time.Duration
	For    time.Duration
	Delay  time.Duration
	Along  bool // the next one begins before this one is over
}

// Span is a fault that happened.
type Span struct {
	Kind     Kind
	Target   string
	From, To int64 // from when it began to when it was mended
}

// String says from when to when, by the clock of the records.
func (s Span) String() string {
	return fmt.Sprintf("%s %s (%.2f s)", s.Kind, s.Target, float64(s.To-s.From)/1e9)
}

// Schedule makes the faults of a run from its seed.
func Schedule(seed uint64, nodes, clients, n int) []Fault {
	r := rand.New(rand.NewPCG(seed, 0x6661756c74))
	var out []Fault
	for range n {
		f := Fault{Kind: kinds[r.IntN(len(kinds))], After: ms(r, 200, 900), For: ms(r, 700, 2500), Delay: ms(r, 20, 200)}
		switch f.Kind {
		case KillClient, PauseOwner, CutClient:
			f.Target = r.IntN(clients)
			if f.Kind != KillClient && r.IntN(3) == 0 {
				f.For += 4 * time.Second // beyond the TTL
			}
		default:
			f.Target = r.IntN(nodes+2) - 2
		}
		f.Other = r.IntN(nodes - 1)
		f.Along = r.IntN(4) == 0
		out = append(out, f)
	}
	return out
}

func ms(r *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+r.IntN(to-from)) * time.Millisecond
}

// aim finds the node that is meant: the leader and the keeper as some node that answers says.
func (w *World) aim(ctx context.Context, target int) int {
	if target >= 0 {
		return target
	}
	for i := range w.Nodes {
		w.mu.Lock()
		p := w.nodes[i]
		skip := p == nil || w.stopped[p.ID]
		w.mu.Unlock()
		if skip {
			continue
		}
		ask, cancel := context.WithTimeout(ctx, 6*time.Second)
		leader, keeper, err := w.Leader(ask, i)
		cancel()
		if err != nil {
			continue
		}
		who := leader
		if target == -2 {
			who = keeper
		}
		for k := range w.Nodes {
			if nodeName(k) == who {
				return k
			}
		}
	}
	return 0
}

// strike makes a fault happen and returns what takes it away again, and who was hit. What it does by itself (a restart) takes as long as it takes.
func (w *World) strike(ctx context.Context, f Fault) (mend func() error, target string, err error) {
	nothing := func() error { return nil }
	switch f.Kind {
	case KillClient:
		p := w.Client(f.Target)
		w.Kill(p)
		return func() error { return w.again(ctx, f.Target) }, p.ID, nil
	case PauseOwner:
		p := w.Client(f.Target)
		return func() error { return w.Resume(p) }, p.ID, w.Pause(p)
	case CutClient:
		c := clientName(f.Target)
		for i := range w.Nodes {
			w.Net.Cut(c, nodeName(i))
			w.Net.Cut(nodeName(i), c)
		}
		return func() error { w.Net.Mend(c); return nil }, c, nil
	case RestartAll:
		for i := range w.Nodes {
			w.Kill(w.Node(i))
		}
		return func() error { return w.each(w.Nodes, func(i int) error { return w.StartNode(ctx, i) }) }, "all", nil
	case Rolling:
		for i := range w.Nodes {
			if err := w.Roll(ctx, i); err != nil {
				return nil, "", err
			}
		}
		return nothing, "all", nil
	}
	i := w.aim(ctx, f.Target)
	n := nodeName(i)
	other := nodeName((i + 1 + f.Other) % w.Nodes)
	switch f.Kind {
	case KillNode:
		w.Kill(w.Node(i))
		return func() error { return w.StartNode(ctx, i) }, n, nil
	case PauseNode:
		p := w.Node(i)
		return func() error { return w.Resume(p) }, n, w.Pause(p)
	case Isolate, Side:
		for k := range w.Nodes {
			if k != i {
				w.Net.Cut(n, nodeName(k))
				w.Net.Cut(nodeName(k), n)
			}
		}
		for c := range w.Clients { // of a partition, every second client is with the node
			for k := range w.Nodes {
				if f.Kind == Side && (c%2 == 0) == (k != i) {
					w.Net.Cut(clientName(c), nodeName(k))
					w.Net.Cut(nodeName(k), clientName(c))
				}
			}
		}
		return func() error { w.Net.Heal(); return nil }, n, nil
	case OneWay:
		w.Net.Cut(n, other)
		return func() error { w.Net.Mend(n); return nil }, n + " to " + other, nil
	case Pair:
		w.Net.Cut(n, other)
		w.Net.Cut(other, n)
		return func() error { w.Net.Mend(n); return nil }, n + " and " + other, nil
	case Reset:
		for c := range w.Clients {
			w.Net.Reset(clientName(c), n)
		}
		w.Net.Reset(n, other)
		return nothing, n, nil
	case Slow:
		for _, p := range w.processes() {
			w.Net.Delay(n, p.Name, f.Delay)
			w.Net.Delay(p.Name, n, f.Delay)
		}
		return func() error { w.Net.Mend(n); return nil }, n, nil
	}
	return nil, "", fmt.Errorf("no such fault: %s", f.Kind)
}

// again starts a client in the place of one that was killed, which works at once.
func (w *World) again(ctx context.Context, i int) error {
	if err := w.StartClient(ctx, i); err != nil {
		return err
	}
	var ready Ready
	return w.Client(i).Ask(ctx, "go", &ready)
}
