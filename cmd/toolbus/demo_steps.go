package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// steps are the claims, in order. Later ones build on what earlier ones have started.
func (d *demo) steps(ctx context.Context) error {
	s := &demoState{demo: d, servers: map[string]*demoChild{}, records: map[string]registry.Record{}}
	for _, step := range []struct {
		claim string
		check func(context.Context) (time.Duration, string, error)
	}{
		{"three nodes make one cluster", s.cluster},
		{"two claim one name at once: one gets it", s.conflict},
		{"a resource server and a prompt server join", s.join},
		{"every node shows the same names and groups", s.same},
		{"looking up a name costs no message", s.lookup},
		{"a call needs the name only", s.call},
		{"so do a resource and a prompt", s.read},
		{"kill -9 of a server: its name is gone on every node", s.killServer},
		{"a new call to it fails at once", s.callDead},
		{"its name is claimed again, with a higher token", s.reclaim},
		{"kill -9 of a node: what lived in it is gone", s.killNode},
		{"what lived elsewhere kept its name, and answers", s.survivors},
	} {
		if err := d.step(ctx, step.claim, step.check); err != nil {
			return err
		}
	}
	return nil
}

// demoState is what one step leaves for the next.
type demoState struct {
	*demo
	servers map[string]*demoChild
	records map[string]registry.Record
	token   uint64
}

func (s *demoState) cluster(ctx context.Context) (time.Duration, string, error) {
	began := time.Now()
	if err := s.startNodes(ctx); err != nil {
		return 0, "", err
	}
	var list []string
	for _, n := range s.nodes {
		list = append(list, fmt.Sprintf("%s (pid %d) at %s", n.name, n.child.pid(), strings.TrimPrefix(n.url, "nats://")))
	}
	return time.Since(began), strings.Join(list, ", "), nil
}

// start starts a server process, connected to a node; it waits for the word to claim its name.
func (s *demoState) start(ctx context.Context, node int, name, kind, process string) (*demoChild, error) {
	c, err := startChild(s.dir, process, "demo-server", demoServerConfig{
		Name: name, Kind: kind, Scope: s.e.scope, Server: s.nodes[node].url, Process: process,
	})
	if c != nil {
		s.others = append(s.others, c)
	}
	if err != nil {
		return nil, err
	}
	_, err = c.hear(ctx)
	return c, err
}

func (s *demoState) conflict(ctx context.Context) (time.Duration, string, error) {
	var pair [2]*demoChild
	for i := range pair {
		var err error
		if pair[i], err = s.start(ctx, i, "calculator", kindTools, fmt.Sprintf("calculator-%d", i+1)); err != nil {
			return 0, "", err
		}
	}
	for _, c := range pair {
		if err := c.tell("go"); err != nil {
			return 0, "", err
		}
	}
	var won, lost demoLine
	var winner, loser *demoChild
	for _, c := range pair {
		line, err := c.hear(ctx)
		switch {
		case err != nil:
			return 0, "", err
		case line.Taken == "":
			won, winner = line, c
		default:
			lost, loser = line, c
		}
	}
	switch {
	case winner == nil || loser == nil:
		return 0, "", errors.New("not one winner and one loser")
	case lost.Taken != won.Instance:
		return 0, "", fmt.Errorf("the loser was told that instance %s has it, but %s has", lost.Taken, won.Instance)
	}
	s.servers["calculator"], s.token = winner, won.Token
	return lost.Took, fmt.Sprintf("%s has it; %s was told: held by %s", winner.name, loser.name, lost.Holder), nil
}

func (s *demoState) join(ctx context.Context) (time.Duration, string, error) {
	var took []string
	var longest time.Duration
	for _, c := range []struct {
		node       int
		name, kind string
	}{{1, "library", kindResources}, {2, "greeter", kindPrompts}} {
		child, err := s.start(ctx, c.node, c.name, c.kind, c.name)
		if err != nil {
			return 0, "", err
		}
		if err := child.tell("go"); err != nil {
			return 0, "", err
		}
		line, err := child.hear(ctx)
		if err != nil {
			return 0, "", err
		}
		s.servers[c.name] = child
		longest = max(longest, line.Took)
		took = append(took, fmt.Sprintf("%s (pid %d) at %s in %s", c.name, child.pid(), s.nodes[c.node].name, precise(line.Took)))
	}
	return longest, "claimed, in the log and acknowledged by a quorum: " + strings.Join(took, ", "), nil
}

func (s *demoState) same(ctx context.Context) (time.Duration, string, error) {
	wantNames := []string{"calculator", "clock", "greeter", "library"}
	wantGroups := map[string][]string{kindTools: {"calculator", "clock"}, kindResources: {"library"}, kindPrompts: {"greeter"}}
	began := time.Now()
	for _, n := range s.nodes {
		if err := n.reg.Refresh(ctx); err != nil { // a linearizable read: whoever was acknowledged before is in it
			return 0, "", err
		}
		if got := n.reg.Names(); !slices.Equal(got, wantNames) {
			return 0, "", fmt.Errorf("%s shows the names %v, not %v", n.name, got, wantNames)
		}
		for group, want := range wantGroups {
			members, err := n.reg.Members(group)
			if err != nil {
				return 0, "", err
			}
			var got []string
			for _, m := range members {
				got = append(got, m.Name)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return 0, "", fmt.Errorf("%s shows %v in group %s, not %v", n.name, got, group, want)
			}
		}
	}
	took := time.Since(began) / time.Duration(len(s.nodes))
	for _, rec := range s.nodes[0].reg.List() {
		s.records[rec.Name] = rec
	}
	return took, "a linearizable read at each; groups: tools calculator clock, resources library, prompts greeter", nil
}

func (s *demoState) lookup(context.Context) (time.Duration, string, error) {
	const times = 10000
	began := time.Now()
	for range times {
		if _, err := s.nodes[2].reg.Whereis("calculator"); err != nil {
			return 0, "", err
		}
	}
	took := time.Since(began) / times
	if took > time.Millisecond {
		return took, "", fmt.Errorf("a look-up takes %s: that is no local one", took)
	}
	return took, fmt.Sprintf("whereis calculator at n3, from its own view: %s (mean of %d)", s.records["calculator"].Holder(), times), nil
}

// at makes an rpc through a node. The end of the instance's lease, as the node's view shows it, ends the call.
func (s *demoState) at(node int, name string) (*rpc, error) {
	n := s.nodes[node]
	pipe, err := wire.Dial(n.conn, wire.Target{Name: name}, &wire.CallerOptions{
		Scope: s.e.scope, Ended: n.ended,
		Held: func(wire.Target) bool { _, err := n.reg.Whereis(name); return err == nil },
	})
	if err != nil {
		return nil, err
	}
	return &rpc{pipe: pipe}, nil
}

// ended tells a caller when the lease that an instance lives by is gone.
func (n *demoNode) ended(ctx context.Context, owner wire.Owner) <-chan string {
	out := make(chan string, 1)
	down, err := n.reg.MonitorSession(ctx, owner.Lease)
	if err != nil { // gone already
		out <- err.Error()
		return out
	}
	go func() {
		select {
		case d := <-down:
			out <- string(d.Reason)
		case <-ctx.Done():
		}
	}()
	return out
}

func (s *demoState) add(ctx context.Context, r *rpc) error {
	text, err := s.text(ctx, r, "tools/call", map[string]any{"name": "add", "arguments": map[string]any{"a": 5, "b": 3}})
	if err == nil && text != "8" {
		err = fmt.Errorf("5 + 3 is %q", text)
	}
	return err
}

func (s *demoState) call(ctx context.Context) (time.Duration, string, error) {
	const times = 101
	r, err := s.at(2, "calculator")
	if err != nil {
		return 0, "", err
	}
	defer r.close()
	var took []time.Duration
	for range times {
		began := time.Now()
		if err := s.add(ctx, r); err != nil {
			return 0, "", err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	where := s.servers["calculator"].name
	return took[times/2], fmt.Sprintf("calculator add 5 + 3 = 8, asked at n3, answered by %s (median of %d, worst %s)", where, times, precise(took[times-1])), nil
}

func (s *demoState) read(ctx context.Context) (time.Duration, string, error) {
	began := time.Now()
	lib, err := s.at(0, "library")
	if err != nil {
		return 0, "", err
	}
	defer lib.close()
	book, err := s.text(ctx, lib, "resources/read", map[string]any{"uri": "book://erlang"})
	if err != nil {
		return 0, "", err
	}
	greeter, err := s.at(1, "greeter")
	if err != nil {
		return 0, "", err
	}
	defer greeter.close()
	prompt, err := s.text(ctx, greeter, "prompts/get", map[string]any{"name": "greet", "arguments": map[string]string{"who": "Joe"}})
	if err != nil {
		return 0, "", err
	}
	took := time.Since(began)
	if book != "Let it crash." || prompt != "Say hello to Joe." {
		return took, "", fmt.Errorf("library says %q, greeter %q", book, prompt)
	}
	return took, fmt.Sprintf("library, asked at n1: %q; greeter, asked at n2: %q", book, prompt), nil
}

// text makes a request and returns the text in its answer, whichever of the three kinds it is.
func (s *demoState) text(ctx context.Context, r *rpc, method string, params map[string]any) (string, error) {
	raw, err := r.call(ctx, method, params)
	if err != nil {
		return "", err
	}
	var answer struct {
		Content  []content `json:"content"`
		Contents []content `json:"contents"`
		Messages []struct {
			Content content `json:"content"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", err
	}
	all := slices.Concat(answer.Content, answer.Contents)
	for _, m := range answer.Messages {
		all = append(all, m.Content)
	}
	if len(all) != 1 {
		return "", fmt.Errorf("%s has %d pieces of content: %s", method, len(all), raw)
	}
	return all[0].Text, nil
}

// each runs fn for the nodes that live, at the same time, and joins what went wrong.
func (s *demoState) each(fn func(*demoNode) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.nodes))
	for i, n := range s.nodes {
		if !n.gone {
			wg.Go(func() { errs[i] = fn(n) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
