package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// goneAt waits on every living node for the end of what the name's monitor watches, and returns how long after at the last one saw it.
func (s *demoState) goneAt(ctx context.Context, name string, kill func() time.Time) (time.Duration, error) {
	downs := map[*demoNode]<-chan registry.Down{}
	for _, n := range s.nodes {
		if n.gone {
			continue
		}
		down, err := n.reg.Monitor(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", n.name, err)
		}
		downs[n] = down
	}
	at := kill()
	var last time.Duration
	for n, down := range downs {
		if n.gone { // that was the kill
			continue
		}
		select {
		case <-down:
			last = max(last, time.Since(at))
		case <-ctx.Done():
			return 0, fmt.Errorf("%s still shows %s: %w", n.name, name, context.Cause(ctx))
		}
		if _, err := n.reg.Whereis(name); !errors.Is(err, registry.ErrNotFound) {
			return 0, fmt.Errorf("%s still shows %s", n.name, name)
		}
	}
	return last, nil
}

func (s *demoState) killServer(ctx context.Context) (time.Duration, string, error) {
	// A call that the server will never answer, to see that its caller is told.
	r, err := s.at(2, "calculator")
	if err != nil {
		return 0, "", err
	}
	defer r.close()
	started, pending := make(chan struct{}, 1), make(chan error, 1)
	r.progress = func(json.RawMessage) { started <- struct{}{} }
	go func() {
		_, err := r.call(ctx, "tools/call", map[string]any{"name": "wait", "arguments": struct{}{}})
		pending <- err
	}()
	select {
	case <-started:
	case err := <-pending:
		return 0, "", fmt.Errorf("a call that should wait has ended: %w", err)
	case <-ctx.Done():
		return 0, "", context.Cause(ctx)
	}
	child := s.servers["calculator"]
	var at time.Time
	took, err := s.goneAt(ctx, "calculator", func() time.Time { at = child.kill(); return at })
	if err != nil {
		return 0, "", err
	}
	select {
	case err = <-pending:
	case <-ctx.Done():
		return 0, "", fmt.Errorf("a call that waited on it was not told: %w", context.Cause(ctx))
	}
	told := time.Since(at)
	if !errors.Is(err, wire.ErrEnded) {
		return 0, "", fmt.Errorf("a call that waited on it ended with %v", err)
	}
	return took, fmt.Sprintf("%s (pid %d), seen at n1, n2 and n3; a call that waited on it was told after %s", child.name, child.pid(), precise(told)), nil
}

func (s *demoState) callDead(ctx context.Context) (time.Duration, string, error) {
	r, err := s.at(1, "calculator")
	if err != nil {
		return 0, "", err
	}
	defer r.close()
	began := time.Now()
	err = s.add(ctx, r)
	took := time.Since(began)
	if !errors.Is(err, wire.ErrNoResponders) {
		return took, "", fmt.Errorf("it ended with %v", err)
	}
	return took, "no timeout: nobody listens on that subject any more, and NATS says so", nil
}

func (s *demoState) reclaim(ctx context.Context) (time.Duration, string, error) {
	child, err := s.start(ctx, 0, "calculator", kindTools, "calculator-3")
	if err != nil {
		return 0, "", err
	}
	if err := child.tell("go"); err != nil {
		return 0, "", err
	}
	line, err := child.hear(ctx)
	switch {
	case err != nil:
		return 0, "", err
	case line.Taken != "":
		return 0, "", fmt.Errorf("it is held by %s", line.Holder)
	case line.Token <= s.token:
		return 0, "", fmt.Errorf("the new token %d is not above the old one, %d", line.Token, s.token)
	}
	s.servers["calculator"] = child
	err = s.each(func(n *demoNode) error {
		if err := n.reg.Refresh(ctx); err != nil {
			return err
		}
		rec, err := n.reg.Whereis("calculator")
		if err == nil && rec.Instance != line.Instance {
			err = fmt.Errorf("%s shows instance %s, not %s", n.name, rec.Instance, line.Instance)
		}
		return err
	})
	if err != nil {
		return 0, "", err
	}
	now, err := s.nodes[0].reg.Whereis("calculator")
	if err != nil {
		return 0, "", err
	}
	s.records["calculator"] = *now
	return line.Took, fmt.Sprintf("%s (pid %d): token %d, was %d", child.name, child.pid(), line.Token, s.token), nil
}

func (s *demoState) killNode(ctx context.Context) (time.Duration, string, error) {
	victim := s.nodes[2]
	leads := "did not lead"
	if info, err := s.nodes[0].store.Info(ctx); err == nil && info.Leader == victim.name {
		leads = "led"
	}
	keeps := "did not keep"
	if k, ok := s.nodes[0].reg.Keeper(); ok && k.Node == victim.name {
		keeps = "kept"
	}
	took, err := s.goneAt(ctx, "clock", func() time.Time {
		victim.gone = true
		return victim.child.kill()
	})
	if err != nil {
		return 0, "", err
	}
	return took, fmt.Sprintf("n3 (pid %d), which %s the log and %s the scope, and clock in it; seen at n1 and n2", victim.child.pid(), leads, keeps), nil
}

func (s *demoState) survivors(ctx context.Context) (time.Duration, string, error) {
	began := time.Now()
	if err := s.each(func(n *demoNode) error { return n.reg.Refresh(ctx) }); err != nil {
		return 0, "", fmt.Errorf("a read through the quorum of n1 and n2: %w", err)
	}
	took := time.Since(began)
	names := []string{"calculator", "greeter", "library"}
	err := s.each(func(n *demoNode) error {
		if got := n.reg.Names(); strings.Join(got, " ") != strings.Join(names, " ") {
			return fmt.Errorf("%s shows the names %v, not %v", n.name, got, names)
		}
		for _, name := range names {
			rec, err := n.reg.Whereis(name)
			if err != nil {
				return err
			}
			if was := s.records[name]; rec.Instance != was.Instance || rec.Token != was.Token {
				return fmt.Errorf("%s shows %s as instance %s, token %d; it was %s, %d", n.name, name, rec.Instance, rec.Token, was.Instance, was.Token)
			}
		}
		return nil
	})
	if err != nil {
		return 0, "", err
	}
	// greeter was connected to the node that died, and answers through another now.
	r, err := s.at(0, "greeter")
	if err != nil {
		return 0, "", err
	}
	defer r.close()
	for {
		_, err := s.text(ctx, r, "prompts/get", map[string]any{"name": "greet", "arguments": map[string]string{"who": "Robert"}})
		if err == nil {
			break
		}
		if !errors.Is(err, wire.ErrNoResponders) && !errors.Is(err, wire.ErrNotValid) || ctx.Err() != nil {
			return 0, "", fmt.Errorf("greeter: %w", err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return took, "n1 and n2 agree; greeter was connected to n3, moved, and kept name, instance and token", nil
}
