package gateway

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/aggregate"
	"github.com/toolbus/toolbus/servers/wire"
)

const (
	maxEndpoints  = 256              // groups for which one gateway has an endpoint
	endpointStart = 20 * time.Second // how long the registry may take to give one its name
)

// endpoints are what a gateway itself hosts on the bus: an endpoint of many servers for each group that a client has asked for. They have names there like
// every server, so other gateways reach their sessions.
type endpoints struct {
	id     string
	caller *wire.Caller
	reg    *registry.Registry
	host   *servers.Host
	log    *slog.Logger

	mu    sync.Mutex
	began map[string]*manyEndpoint // by group
}

// manyEndpoint is one of them, or the starting of it.
type manyEndpoint struct {
	ready    chan struct{} // closed once the rest stands
	endpoint *aggregate.Endpoint
	serving  *servers.Serving
	target   wire.Target
	err      error
}

// over tells whether it has begun and ended since: the name was lost in a partition, say.
func (m *manyEndpoint) over() bool {
	select {
	case <-m.ready:
	default:
		return false
	}
	if m.serving == nil {
		return true
	}
	select {
	case <-m.serving.Done():
		return true
	default:
		return false
	}
}

func newEndpoints(conn *bus.Conn, reg *registry.Registry, caller *wire.Caller, log *slog.Logger) *endpoints {
	return &endpoints{
		id: strings.ToLower(rand.Text()[:10]), caller: caller, reg: reg, log: log,
		host: servers.NewHost(conn, reg, &servers.HostOptions{Logger: log}), began: map[string]*manyEndpoint{},
	}
}

// of returns who serves a group, "" for all servers. The first that asks starts it.
func (e *endpoints) of(ctx context.Context, group string) (wire.Target, error) {
	e.mu.Lock()
	m := e.began[group]
	if m != nil && m.over() {
		if m.endpoint != nil {
			_ = m.endpoint.Close()
		}
		delete(e.began, group)
		m = nil
	}
	if m == nil {
		if err := e.refuse(group); err != nil {
			e.mu.Unlock()
			return wire.Target{}, err
		}
		m = &manyEndpoint{ready: make(chan struct{})}
		e.began[group] = m
		e.mu.Unlock()
		e.start(context.WithoutCancel(ctx), group, m) // others may wait for it as well
	} else {
		e.mu.Unlock()
	}
	select {
	case <-m.ready:
		return m.target, m.err
	case <-ctx.Done():
		return wire.Target{}, ctx.Err()
	}
}

// refuse says why there is to be no endpoint: strangers make none for groups that there are not. e.mu is held.
func (e *endpoints) refuse(group string) error {
	facts := wire.Facts{Group: group}
	if group != "" {
		if members, err := e.reg.Members(group); err != nil || len(members) == 0 {
			return wire.NewError(wire.CodeNoName, "no server is in group "+group, facts)
		}
	}
	if len(e.began) >= maxEndpoints {
		return wire.NewError(wire.CodeBusy, "this gateway has endpoints for too many groups", facts)
	}
	if !wire.ValidName(manyName(e.id, group)) {
		return wire.NewError(wire.CodeNoName, "the group's name is too long for an endpoint", facts)
	}
	return nil
}

func (e *endpoints) start(ctx context.Context, group string, m *manyEndpoint) {
	defer close(m.ready)
	ctx, cancel := context.WithTimeout(ctx, endpointStart)
	defer cancel()
	name := manyName(e.id, group)
	endpoint := aggregate.New(e.caller, e.reg, &aggregate.Options{Group: group, Logger: e.log})
	serving, err := e.host.ServeBackend(ctx, name, endpoint, &servers.ServeOptions{Kind: aggregate.Kind})
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		delete(e.began, group) // the next one tries again
		m.err = err
		_ = endpoint.Close()
		return
	}
	m.endpoint, m.serving, m.target = endpoint, serving, wire.Target{Name: name, Instance: serving.Record().Instance}
	e.log.Info("an endpoint of many servers has begun", "name", name, "group", group)
}

// close ends them, and the sessions with them.
func (e *endpoints) close() error {
	err := e.host.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.began {
		if m.endpoint != nil {
			_ = m.endpoint.Close()
		}
	}
	return err
}
