package registrytest

import (
	"context"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// World is one scope in memory and the processes in it.
type World struct {
	Log *kvstore.Memory
	Hub *Hub
	ttl time.Duration
}

// NewWorld makes an empty scope with a pulse a second.
func NewWorld(ttl time.Duration) *World {
	return &World{
		Log: kvstore.NewMemory(&kvstore.MemoryOptions{Metadata: map[string]string{registry.MetadataTTL: ttl.String(), registry.MetadataPulse: "1s"}}),
		Hub: NewHub(time.Millisecond),
		ttl: ttl,
	}
}

// ProcessOptions describe a process; nil is a candidate on server "s1".
type ProcessOptions struct {
	Server  string        // where it connects; "" is "s1"
	Servers int           // how many servers it knows; 0 is 1
	Role    registry.Role // a Node hears the cluster's events
	Skew    time.Duration // of its time of day
	Node    string        // its name; "" is its server's

	Counters kvstore.Counters // of the scope; nil: none
	History  kvstore.History  // of the scope; nil: none
}

// Process is a registry with its own ways to the world.
type Process struct {
	*registry.Registry
	Peer  *Peer
	Store *Store
	Clock *Clock
}

// Start starts a process and waits until its view is loaded. It is closed with the test, if not killed before.
func (w *World) Start(t testing.TB, opts *ProcessOptions) *Process {
	t.Helper()
	var o ProcessOptions
	if opts != nil {
		o = *opts
	}
	if o.Server == "" {
		o.Server = "s1"
	}
	if o.Node == "" {
		o.Node = o.Server
	}
	p := &Process{
		Peer:  w.Hub.Connect(o.Server, &PeerOptions{Node: o.Role == registry.Node, Servers: o.Servers}),
		Store: NewStore(w.Log),
		Clock: NewClock(o.Skew),
	}
	r, err := registry.Open(t.Context(), p.Store, &registry.Options{Node: o.Node, Peers: p.Peer, Role: o.Role, Clock: p.Clock, Counters: o.Counters, History: o.History})
	if err != nil {
		t.Fatal(err)
	}
	p.Registry = r
	t.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// Kill ends the process without a word, and nobody is told.
func (p *Process) Kill() { p.KillFor("") }

// KillFor is Kill, but nodes hear of its connection's end with reason.
func (p *Process) KillFor(reason string) {
	p.Store.Cut()
	p.Store.Thaw()
	p.Peer.Kill(reason)
	p.Peer.Thaw()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Close(gone) // it cannot end its sessions any more, and says so
}

// Freeze stops the process as SIGSTOP does, in the eyes of others.
func (p *Process) Freeze() {
	p.Store.Freeze()
	p.Peer.Freeze()
}

// Thaw lets it go on.
func (p *Process) Thaw() {
	p.Store.Thaw()
	p.Peer.Thaw()
}

// Cut takes the connection away, of which nodes hear reason, and with it the log.
func (p *Process) Cut(reason string) {
	p.Store.Cut()
	p.Peer.Cut(reason)
}

// Reconnect connects it again.
func (p *Process) Reconnect(server string) {
	p.Store.Restore()
	p.Peer.Reconnect(server)
}
