package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/toolbus/toolbus/bus"
)

// Lab is where a case is measured: processes of this machine, and a folder. What was started in it ends with it.
type Lab struct {
	command   []string
	toolbus   string // the program that people run, "" where it is not known
	dir       string
	processes []*Process
	others    []int // processes that a system started by itself, counted for CPU
	closers   []func()
	cluster   *Nodes
	scopes    atomic.Int64
}

func newLab(command []string, toolbus string) (*Lab, error) {
	if command == nil {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		command = []string{self, ChildWord}
	}
	dir, err := os.MkdirTemp("", "toolbus-bench-")
	if err != nil {
		return nil, err
	}
	return &Lab{command: command, toolbus: toolbus, dir: dir}, nil
}

// Close ends all processes, the last first, and removes the folder.
func (l *Lab) Close() {
	for _, f := range slices.Backward(l.closers) {
		f()
	}
	for _, p := range slices.Backward(l.processes) {
		p.end()
	}
	_ = os.RemoveAll(l.dir) // a folder for temporary files; what stays there the system removes
}

// Dir is a folder for the files of one system.
func (l *Lab) Dir(name string) (string, error) {
	dir := filepath.Join(l.dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// Closed has f called when the lab closes, before its processes end.
func (l *Lab) Closed(f func()) { l.closers = append(l.closers, f) }

// Count has the processor time of a process counted that the lab has not started.
func (l *Lab) Count(pid int) { l.others = append(l.others, pid) }

// Scope is a scope that nobody has used.
func (l *Lab) Scope() string { return fmt.Sprintf("bench-%d", l.scopes.Add(1)) }

// cpu is the processor time of all processes of the lab, this one included.
func (l *Lab) cpu() (sum time.Duration) {
	sum = cpuOf(os.Getpid())
	for _, p := range l.processes {
		sum += cpuOf(p.PID())
	}
	for _, pid := range l.others {
		sum += cpuOf(pid)
	}
	return sum
}

// echo is the command of an MCP server on stdio.
func (l *Lab) echo() []string { return append(slices.Clone(l.command[:len(l.command)-1]), EchoWord) }

// Start starts a process of a command, which speaks as Serve does.
func (l *Lab) Start(name string, command ...string) (*Process, error) {
	p, err := startProcess(name, command)
	if err != nil {
		return nil, err
	}
	l.processes = append(l.processes, p)
	return p, nil
}

// Client starts a process that is connected to the nodes of url, the first of them first.
func (l *Lab) Client(ctx context.Context, name, url string) (*Process, error) {
	p, err := l.Start(name, l.command...)
	if err != nil {
		return nil, err
	}
	return p, p.Ask(ctx, Request{Verb: "connect", Name: name, URL: url}, nil)
}

// Nodes are nodes of toolbus, each a process.
type Nodes struct {
	Processes []*Process
	URLs      []string
}

// URL lists the nodes' addresses with number i first.
func (n *Nodes) URL(i int) string {
	urls := slices.Concat(n.URLs[i:], n.URLs[:i])
	return strings.Join(urls, ",")
}

// Cluster is the lab's cluster of n nodes, started at the first call: cases that harm no node share it.
func (l *Lab) Cluster(ctx context.Context, n int) (*Nodes, error) {
	if l.cluster != nil && len(l.cluster.URLs) == n {
		return l.cluster, nil
	}
	var err error
	l.cluster, err = l.FreshCluster(ctx, n)
	return l.cluster, err
}

// FreshCluster starts a cluster of n nodes and waits until it is usable.
func (l *Lab) FreshCluster(ctx context.Context, n int) (*Nodes, error) {
	var addrs []string
	if n > 1 {
		var err error
		if addrs, err = bus.FreeAddrs(n); err != nil {
			return nil, err
		}
	}
	var c Nodes
	for i := range n {
		name := fmt.Sprintf("n%d", i+1)
		p, err := l.Start(name, l.command...)
		if err != nil {
			return nil, err
		}
		dir, err := l.Dir(fmt.Sprintf("%s-%d", name, l.scopes.Add(1)))
		if err != nil {
			return nil, err
		}
		c.Processes = append(c.Processes, p)
		request := Request{Verb: "node", Name: name, Dir: dir}
		if n > 1 {
			request.Cluster, request.Join = addrs[i], addrs
		}
		if err := p.tell(request); err != nil {
			return nil, err
		}
	}
	for _, p := range c.Processes {
		var a Reply
		if err := p.hear(ctx, &a); err != nil {
			return nil, err
		}
		c.URLs = append(c.URLs, a.URL)
	}
	return &c, nil
}

// all asks several processes at once and returns their answers in order.
func all(ctx context.Context, processes []*Process, request func(i int) Request) ([]Reply, error) {
	answers := make([]Reply, len(processes))
	errs := make(chan error, len(processes))
	for i, p := range processes {
		go func() { errs <- p.Ask(ctx, request(i), &answers[i]) }()
	}
	var first error
	for range processes {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return answers, first
}

// ask asks one process.
func ask(ctx context.Context, p *Process, request Request) (Reply, error) {
	var a Reply
	err := p.Ask(ctx, request, &a)
	return a, err
}
