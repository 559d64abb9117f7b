//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// WorldConfig describes the processes of a run.
type WorldConfig struct {
	Dir      string // journals, marks and stores
	Seed     uint64
	Nodes    int
	Clients  int
	TTL      time.Duration
	Pulse    time.Duration
	Workload Workload
	Skew     bool                             // clocks go wrong, by less than the margin allows
	Log      func(format string, args ...any) // nil: nothing
}

// World is the processes of a run and the links between them. Its methods may be called concurrently, but not for one process.
type World struct {
	WorldConfig
	Net *Network

	mu      sync.Mutex
	nodes   []*Process
	clients []*Process
	starts  map[string]int
	killed  map[string]int64 // by process id: when
	paused  map[string][]Pause
	stopped map[string]bool // now
	stores  []string
	gates   []string
	routes  []string
}

// Pause is a time on the records' clock.
type Pause struct{ From, To int64 }

// StartWorld starts the nodes, waits until they are a cluster, and starts the clients, which wait for an order.
func StartWorld(ctx context.Context, c WorldConfig) (*World, error) {
	w, err := startWorld(ctx, c)
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// startWorld returns what has been started in any case.
func startWorld(ctx context.Context, c WorldConfig) (*World, error) {
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	w := &World{WorldConfig: c, Net: NewNetwork(), starts: map[string]int{}, killed: map[string]int64{}, paused: map[string][]Pause{}, stopped: map[string]bool{}}
	for i := range c.Nodes {
		name := nodeName(i)
		clients, err := w.Net.Gate(name, name)
		if err != nil {
			return w, err
		}
		route, err := w.Net.Gate(name+" route", name)
		if err != nil {
			return w, err
		}
		w.gates, w.routes = append(w.gates, clients), append(w.routes, route)
		w.stores = append(w.stores, filepath.Join(c.Dir, name))
	}
	w.nodes, w.clients = make([]*Process, c.Nodes), make([]*Process, c.Clients)
	if err := w.each(c.Nodes, func(i int) error { return w.StartNode(ctx, i) }); err != nil {
		return w, err
	}
	return w, w.each(c.Clients, func(i int) error { return w.StartClient(ctx, i) })
}

func nodeName(i int) string   { return fmt.Sprintf("n%d", i+1) }
func clientName(i int) string { return fmt.Sprintf("c%d", i+1) }

// each does something for 0 to n-1 at once and returns all errors.
func (w *World) each(n int, do func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// birth numbers the starts of a process.
func (w *World) birth(name string) (id string, start int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts[name]++
	return fmt.Sprintf("%s.%d", name, w.starts[name]), w.starts[name]
}

// rate is how fast a process's clock goes: within four per cent, so that two differ by less than the tenth that validity leaves.
func (w *World) rate(i int) float64 {
	if !w.Skew {
		return 1
	}
	return 1 + 0.04*float64((w.Seed>>(uint(i)*3))%9)/4 - 0.04
}

func (w *World) scope() Scope { return Scope{Dir: w.Dir, Scope: "faults", TTL: w.TTL, Pulse: w.Pulse} }

// StartNode starts a node with its store and waits until it can be used.
func (w *World) StartNode(ctx context.Context, i int) error {
	if err := w.LaunchNode(ctx, i); err != nil {
		return err
	}
	return w.WaitNode(ctx, i)
}

// LaunchNode starts a node's process and waits until it listens.
func (w *World) LaunchNode(ctx context.Context, i int) error {
	name := nodeName(i)
	id, start := w.birth(name)
	p, err := startProcess(name, id, childStart{Node: &NodeConfig{
		Scope: w.scope(), Name: name, ID: id, Store: w.stores[i], Advertise: w.gates[i], Cluster: w.routes[i], Nodes: w.routes,
		Rate: w.rate(i), WallOffset: w.offset(i + start),
	}})
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.nodes[i] = p
	w.mu.Unlock()
	var up NodeUp
	if err := p.Answer(ctx, &up); err != nil {
		return err
	}
	w.Net.Known(up.Server, name)
	w.Net.Behind(name, strings.TrimPrefix(up.URL, "nats://"))
	w.Net.Behind(name+" route", strings.TrimPrefix(up.Route, "nats-route://"))
	return nil
}

// offset is how wrong a process's wall clock is.
func (w *World) offset(k int) time.Duration {
	if !w.Skew {
		return 0
	}
	return time.Duration(int(w.Seed>>8)%7-3+k) * time.Hour
}

// WaitNode waits until a node that was launched can be used.
func (w *World) WaitNode(ctx context.Context, i int) error {
	var ready Ready
	return w.Node(i).Answer(ctx, &ready)
}

// StartClient starts a client and waits until it is connected.
func (w *World) StartClient(ctx context.Context, i int) error {
	name := clientName(i)
	id, start := w.birth(name)
	var urls []string
	for k := range w.gates {
		urls = append(urls, "nats://"+w.gates[(i+k)%len(w.gates)])
	}
	p, err := startProcess(name, id, childStart{Client: &ClientConfig{
		Scope: w.scope(), Name: name, ID: id, URLs: strings.Join(urls, ","), Seed: [2]uint64{w.Seed, uint64(i)<<32 + uint64(start)<<16},
		Workload: w.Workload, Rate: w.rate(len(w.nodes) + i), WallOffset: w.offset(i * start),
	}})
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.clients[i] = p
	w.mu.Unlock()
	var ready Ready
	return p.Answer(ctx, &ready)
}

// Node is the process of a node.
func (w *World) Node(i int) *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[i]
}

// Client is the process of a client.
func (w *World) Client(i int) *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clients[i]
}

// processes are all that were started last under their names.
func (w *World) processes() []*Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*Process
	for _, p := range append(append([]*Process(nil), w.clients...), w.nodes...) {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// Kill ends a process with kill -9.
func (w *World) Kill(p *Process) {
	w.mu.Lock()
	if _, ok := w.killed[p.ID]; !ok {
		w.killed[p.ID] = Now()
	}
	w.mu.Unlock()
	if p.Name[0] == 'n' {
		w.Net.Behind(p.Name, "")
		w.Net.Behind(p.Name+" route", "")
	}
	p.Kill()
}

// Pause stops a process as SIGSTOP does, until Resume.
func (w *World) Pause(p *Process) error {
	w.mu.Lock()
	w.paused[p.ID] = append(w.paused[p.ID], Pause{Now(), Never})
	w.stopped[p.ID] = true
	w.mu.Unlock()
	return p.Signal(syscall.SIGSTOP)
}

// Resume lets a paused process go on.
func (w *World) Resume(p *Process) error {
	err := p.Signal(syscall.SIGCONT)
	w.mu.Lock()
	defer w.mu.Unlock()
	if list := w.paused[p.ID]; len(list) > 0 {
		list[len(list)-1].To = Now()
	}
	delete(w.stopped, p.ID)
	return err
}

// Roll stops a node in good order and starts it again.
func (w *World) Roll(ctx context.Context, i int) error {
	p := w.Node(i)
	w.mu.Lock()
	w.killed[p.ID] = Now()
	w.mu.Unlock()
	if err := p.Order("stop"); err != nil {
		return err
	}
	select {
	case <-p.Ended():
	case <-ctx.Done():
		return fmt.Errorf("%s does not stop: %w", p.ID, ctx.Err())
	}
	w.Net.Behind(p.Name, "")
	w.Net.Behind(p.Name+" route", "")
	return w.StartNode(ctx, i)
}

// Order gives all clients an order at once and waits until each has said that it is done.
func (w *World) Order(ctx context.Context, do string) error {
	return w.each(w.Clients, func(i int) error {
		var ready Ready
		return w.Client(i).Ask(ctx, do, &ready)
	})
}

// States asks all processes what they see. A process is named as it was started: n1, c2.
func (w *World) States(ctx context.Context) (map[string]State, error) {
	all := w.processes()
	states := make([]State, len(all))
	err := w.each(len(all), func(i int) error { return all[i].Ask(ctx, "state", &states[i]) })
	out := map[string]State{}
	for i, p := range all {
		out[p.Name] = states[i]
	}
	return out, err
}

// Leader says which node leads the log, and which keeps the scope.
func (w *World) Leader(ctx context.Context, ask int) (leader, keeper string, err error) {
	var s State
	if err := w.Node(ask).Ask(ctx, "state", &s); err != nil {
		return "", "", err
	}
	return s.Leader, s.Keeper, nil
}

// Stop ends the clients in good order.
func (w *World) Stop(ctx context.Context) error {
	return w.each(w.Clients, func(i int) error {
		p := w.Client(i)
		if err := p.Order("stop"); err != nil {
			return fmt.Errorf("%s: %w", p.ID, err)
		}
		select {
		case <-p.Ended():
		case <-ctx.Done():
			return fmt.Errorf("%s does not stop: %w", p.ID, ctx.Err())
		}
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s ended with %d: %s", p.ID, code, p.tail)
		}
		return nil
	})
}

// Close kills what is left.
func (w *World) Close() {
	for _, p := range w.processes() {
		p.Kill()
	}
	w.Net.Close()
	if os.Getenv("TOOLBUS_FAULTS_KEEP") == "" {
		for _, s := range w.stores {
			_ = os.RemoveAll(s)
		}
	}
}
