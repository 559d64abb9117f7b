//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// Scope is what all processes of a run have in common.
type Scope struct {
	Dir   string // of the run: journals and marks
	Scope string
	TTL   time.Duration
	Pulse time.Duration
}

// NodeConfig is what a node's process is told.
type NodeConfig struct {
	Scope
	Name, ID   string
	Store      string   // the node's own folder
	Advertise  string   // its gate for clients
	Cluster    string   // its gate for nodes
	Nodes      []string // the gates for nodes of all
	Rate       float64  // of its clock
	WallOffset time.Duration
}

// NodeUp is what a node says first: where it really listens.
type NodeUp struct{ URL, Route, Server string }

// Ready is what a child says when it can be used, and after each order that has no other answer.
type Ready struct {
	Ready bool
	Err   string `json:",omitempty"`
}

// Probe is what a client finds when it tries to claim a name of its own.
type Probe struct {
	Err     string        // of the claim; "" where it worked
	Took    time.Duration // at most ProbeTime, but for the machine
	Age     time.Duration // of its view, as it says
	Known   bool
	Serving int // of what it holds, what it may serve
	Holds   int
}

// ProbeTime is the deadline of a probe's claim.
const ProbeTime = 2 * time.Second

// State is what a process sees after a barrier.
type State struct {
	Err      string            `json:",omitempty"`
	Names    map[string]Seen   // what is visible
	Groups   map[string]string // group and session, joined by a blank: the instance
	Leases   []string
	Folded   map[string]Seen // the same as its watch has told it
	Revision uint64
	Holds    map[string]Seen // what its sessions hold, as they believe
	Sessions []string        // those of it that live
	Leader   string
	Keeper   string
}

// Seen is who holds a name.
type Seen struct {
	Token   uint64
	Session string
}

// logger writes to stderr where the environment asks for it.
func logger(who string) *slog.Logger {
	level := slog.LevelWarn
	if os.Getenv("TOOLBUS_FAULTS_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("who", who)
}

// runNode is a node's process.
func runNode(ctx context.Context, c *NodeConfig, t *talk) error {
	log := logger(c.ID)
	journal, err := OpenJournal(c.Dir, c.ID)
	if err != nil {
		return err
	}
	journal.Write(Record{What: WStart})
	n, err := bus.StartNode(ctx, &bus.NodeOptions{
		Name: c.Name, Dir: c.Store, Listen: "127.0.0.1:0", Advertise: c.Advertise, Logger: log,
		Cluster: &bus.ClusterOptions{Listen: "127.0.0.1:0", Advertise: c.Cluster, Nodes: c.Nodes, Secret: "faults"},
	})
	if err != nil {
		return err
	}
	if err := t.say(NodeUp{URL: n.URL(), Route: n.ClusterURL(), Server: n.ID()}); err != nil {
		return err
	}
	if err := n.WaitReady(ctx); err != nil {
		return err
	}
	conn, err := n.Connect(ctx, &bus.ConnectOptions{Name: c.Name, Logger: log})
	if err != nil {
		return err
	}
	store, reg, err := openScope(ctx, conn, c.Scope, registry.Options{Node: c.Name, Role: registry.Node, Logger: log, Clock: NewSkew(c.Rate, c.WallOffset)})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err = store.Ensure(try)
		cancel()
		if err == nil || !errors.Is(err, kvstore.ErrUnavailable) {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := reg.WaitSynced(ctx); err != nil {
		return err
	}
	fold := newFold(journal)
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var work sync.WaitGroup
	work.Go(func() { fold.follow(watching, reg) })
	if err := t.say(Ready{Ready: true}); err != nil {
		return err
	}
	for o := range t.orders {
		switch o.Do {
		case "state":
			s := seeState(ctx, reg, fold)
			info, err := store.Info(ctx)
			if err == nil {
				s.Leader = info.Leader
			}
			if err := t.say(s); err != nil {
				return err
			}
		case "stop": // in good order, as `toolbus up` does
			stopWatching()
			work.Wait()
			end, cancel := context.WithTimeout(ctx, 15*time.Second)
			err := errors.Join(reg.Close(end), conn.Close(), n.Shutdown(end), journal.Close())
			cancel()
			return err
		}
	}
	return nil
}

// openScope opens the log and the registry of a run's scope.
func openScope(ctx context.Context, conn *bus.Conn, c Scope, o registry.Options) (*kvstore.JetStream, *registry.Registry, error) {
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), c.Scope, &kvstore.JetStreamOptions{
		Replicas: 3, Logger: o.Logger,
		Metadata: map[string]string{registry.MetadataTTL: c.TTL.String(), registry.MetadataPulse: c.Pulse.String()},
	})
	if err != nil {
		return nil, nil, err
	}
	o.Scope, o.Peers = c.Scope, conn
	reg, err := registry.Open(ctx, store, &o)
	return store, reg, err
}

// seeState reads what is visible, behind a barrier.
func seeState(ctx context.Context, reg *registry.Registry, f *fold) State {
	s := State{Names: map[string]Seen{}, Groups: map[string]string{}}
	fresh, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := reg.Refresh(fresh); err != nil {
		s.Err = fmt.Sprintf("refresh: %v", err)
		return s
	}
	s.Revision = uint64(reg.Revision())
	for _, rec := range reg.List() {
		s.Names[rec.Name] = Seen{uint64(rec.Token), rec.Session}
	}
	for _, g := range reg.Groups() {
		members, err := reg.Members(g)
		if err != nil {
			s.Err = err.Error()
		}
		for _, m := range members {
			s.Groups[g+" "+m.Session] = m.Instance
		}
	}
	for _, l := range reg.Leases() {
		s.Leases = append(s.Leases, l.Session)
	}
	s.Folded = f.names()
	if k, ok := reg.Keeper(); ok {
		s.Keeper = k.Node
	}
	return s
}
