package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// The TTL that a new scope gets: short where our own nodes elect a new leader within a second or so, long where NATS' own timing holds.
const (
	nodeTTL   = 6 * time.Second
	keeperTTL = registry.DefaultTTL
	pulse     = registry.DefaultPulse
)

const (
	waitSlice    = 2 * time.Second // how often a start that waits says for whom
	drainTimeout = 10 * time.Second
)

// running is what `up` runs: a keeper of the scope, and under it, unless the NATS is the user's own, a node.
type running struct {
	node *bus.Node // nil on the user's own NATS
	conn *bus.Conn
	reg  *registry.Registry
	info kvstore.Info
	stop func() error // of the announcement

	gateway *runningGateway // nil: none was asked for
}

// startNode starts a node and the keeper on it. A cluster that starts for the first time is waited for, and note says for whom.
func (e *env) startNode(ctx context.Context, opts *bus.NodeOptions, ttl time.Duration) (_ *running, err error) {
	r := &running{}
	defer func() {
		if err != nil {
			r.abort()
		}
	}()
	if r.node, err = bus.StartNode(ctx, opts); err != nil {
		return nil, err
	}
	replicas := 1
	if opts.Cluster != nil {
		if err := e.waitReady(ctx, r.node); err != nil {
			return nil, err
		}
		if len(opts.Cluster.Nodes) >= 3 { // said here: NATS would be content with one while only some of the nodes have arrived
			replicas = 3
		}
	}
	if r.conn, err = r.node.Connect(ctx, &bus.ConnectOptions{Logger: opts.Logger}); err != nil {
		return nil, err
	}
	return r, e.keep(ctx, r, r.node.Name(), registry.Node, replicas, ttl)
}

// startKeeper starts a keeper on somebody else's NATS.
func (e *env) startKeeper(ctx context.Context, name string, ttl time.Duration) (_ *running, err error) {
	r := &running{}
	l, err := e.connect(ctx, "keeper", name, e.logger(true), nil)
	if err != nil {
		return nil, err
	}
	r.conn = l.conn
	if err := e.keep(ctx, r, name, registry.Candidate, 0, ttl); err != nil {
		r.abort()
		return nil, err
	}
	return r, nil
}

// keep makes the scope's log if need be, and starts to keep it.
func (e *env) keep(ctx context.Context, r *running, name string, role registry.Role, replicas int, ttl time.Duration) error {
	log := e.logger(true)
	store, err := kvstore.OpenJetStream(ctx, r.conn.NATS(), e.scope, &kvstore.JetStreamOptions{
		Replicas: replicas, Logger: log,
		Metadata: map[string]string{registry.MetadataTTL: ttl.String(), registry.MetadataPulse: pulse.String()},
	})
	if err != nil {
		return err
	}
	if err := e.ensure(ctx, store, role == registry.Node); err != nil {
		return err
	}
	if r.info, err = store.Info(ctx); err != nil {
		return err
	}
	beside := &kvstore.JetStreamOptions{Replicas: replicas, Logger: log}
	history, err := kvstore.OpenJetStreamHistory(ctx, r.conn.NATS(), e.scope, &kvstore.HistoryOptions{JetStream: beside})
	if err != nil {
		return err
	}
	counters, err := kvstore.OpenJetStreamCounters(ctx, r.conn.NATS(), e.scope, beside) // who keeps the scope forgets those of the dead
	if err != nil {
		return err
	}
	r.reg, err = registry.Open(ctx, store, &registry.Options{
		Scope: e.scope, Node: name, Peers: r.conn, Role: role, Counters: counters, History: history, Logger: log,
	})
	if err != nil {
		return err
	}
	if err := r.reg.WaitSynced(ctx); err != nil {
		return err
	}
	metadata := map[string]string{"node": name, "scope": e.scope, "role": string(role)}
	if r.node != nil {
		metadata["election"] = r.node.ElectionTimeout().String() // it must be the same on all nodes: `doctor` looks
	}
	r.stop, err = r.conn.Announce(ctx, bus.ServiceInfo{
		Name: "toolbus", Version: build().Version, Description: "toolbus node " + name, Metadata: metadata,
	})
	return err
}

// waitReady waits for a cluster and says for whom, when that changes.
func (e *env) waitReady(ctx context.Context, node *bus.Node) error {
	said := ""
	for {
		slice, cancel := context.WithTimeout(ctx, waitSlice)
		err := node.WaitReady(slice)
		cancel()
		late, ok := errors.AsType[*bus.NotReadyError](err)
		if err == nil || !ok || ctx.Err() != nil {
			return err
		}
		now := "waiting for the cluster to elect a leader"
		if len(late.Missing) > 0 {
			now = "waiting for " + strings.Join(late.Missing, ", ")
		}
		if late.Hint != "" {
			now += " (" + late.Hint + ")"
		}
		if now != said {
			e.note("%s", now)
			said = now
		}
	}
}

// ensure makes the log. On nodes of ours a log of three replicas waits until three nodes are there.
func (e *env) ensure(ctx context.Context, store *kvstore.JetStream, wait bool) error {
	said := false
	for {
		slice, cancel := context.WithTimeout(ctx, max(waitSlice, e.timeout))
		err := store.Ensure(slice)
		cancel()
		if err == nil || !wait || ctx.Err() != nil || !errors.Is(err, kvstore.ErrUnavailable) {
			return err
		}
		if !said {
			e.note("waiting for enough nodes to keep the log of scope %s (%s)", e.scope, plain(err))
			said = true
		}
	}
}

// close ends in good order: the pulse goes to another keeper, clients are sent to other nodes, then the server stops.
func (r *running) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		if r.gateway != nil {
			err = r.gateway.stop()
		}
		if r.stop != nil {
			_ = r.stop() // a service that is not withdrawn ends with the connection
		}
		err = errors.Join(err, r.reg.Close(ctx), r.conn.Close())
		if r.node != nil {
			err = errors.Join(err, r.node.Shutdown(ctx))
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // the process ends after this in any case: what is acknowledged is on disk
		return fmt.Errorf("it took longer than %s", drainTimeout)
	}
}

// abort takes down what a failed start has left.
func (r *running) abort() {
	end, cancel := context.WithTimeout(context.Background(), waitSlice)
	defer cancel()
	if r.reg != nil {
		_ = r.reg.Close(end)
	}
	if r.conn != nil {
		_ = r.conn.Close()
	}
	if r.node != nil {
		_ = r.node.Close()
	}
}

// lost is closed when the node's server or the keeper's connection has ended by itself.
func (r *running) lost() <-chan struct{} { return r.conn.Done() }

// warnings says what is not as it should be with the log, and where it differs from what was asked for.
func (r *running) warnings(ttl time.Duration) []string {
	list := r.info.Warnings
	if have := r.info.Metadata[registry.MetadataTTL]; have != "" && have != ttl.String() {
		list = append(list, fmt.Sprintf("the scope's TTL is %s, as who made it said; not %s", have, ttl))
	}
	return list
}
