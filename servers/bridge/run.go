package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// Kind is the kind that a bridged server's record has.
const Kind = "stdio"

// The members of a bridged server's metadata. Those that begin with mcp. come from the server: JSON on one line as it gave it, or text.
const (
	MetaServer       = "mcp.serverInfo"
	MetaCapabilities = "mcp.capabilities"
	MetaVersion      = "mcp.protocolVersion"
	MetaEra          = "mcp.era"
	MetaInstructions = "mcp.instructions" // the beginning
	MetaPID          = "child.pid"        // of the first child
)

// maxMetadata bounds one member of what comes from the server, in bytes: a record is one small line.
const maxMetadata = 4096

// RunOptions says how a command is run as a named server. The zero value, and nil, are usable.
type RunOptions struct {
	Groups   []string          // groups to join besides tools, resources and prompts, which follow from the server's capabilities
	Labels   map[string]string // of the registration
	Metadata map[string]string // of the registration, besides what the server says about itself

	Env    []string  // KEY=VALUE, added to this process's environment
	Dir    string    // the working directory; "": this process's
	Stderr io.Writer // gets a copy of what every child writes to stderr, a piece of a line at a time; nil: none

	Single       bool          // one child for all clients, see Stdio
	MaxSessions  int           // see StdioOptions
	StartTimeout time.Duration // see StdioOptions

	Stdio  *StdioOptions // everything else; what is set above goes before it
	Logger *slog.Logger  // nil: nothing is logged
}

func (o *RunOptions) withDefaults() (*RunOptions, *StdioOptions) {
	if o == nil {
		o = &RunOptions{}
	}
	c, s := *o, StdioOptions{}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Stdio != nil {
		s = *c.Stdio
	}
	s.Child.Env = append(slices.Clone(s.Child.Env), c.Env...)
	if c.Dir != "" {
		s.Child.Dir = c.Dir
	}
	if c.Stderr != nil {
		s.Child.Stderr = &oneAtATime{w: c.Stderr}
	}
	s.Single = s.Single || c.Single
	if c.MaxSessions > 0 {
		s.MaxSessions = c.MaxSessions
	}
	if c.StartTimeout > 0 {
		s.StartTimeout = c.StartTimeout
	}
	if s.Logger == nil {
		s.Logger = c.Logger
	}
	return &c, &s
}

// oneAtATime lets the children share a writer.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneAtATime) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}

// Running is a command that is served under a name. Its methods may be called concurrently.
type Running struct {
	conn    *bus.Conn
	reg     *registry.Registry
	name    string
	opts    *RunOptions
	log     *slog.Logger
	backend *Stdio
	record  registry.RegisterOptions

	asked chan struct{} // by Close
	once  sync.Once
	done  chan struct{} // everything is left; err is set
	err   error

	mu   sync.Mutex
	hold *hold
}

// Run makes command an MCP server that is called name on the bus.
//
// A name that somebody else holds is a *registry.NameTakenError before anything is started; the holder is asked first, and one that does not
// answer is left to Register, which waits for the verdict on him. Then the first child is started and initialised (*StartError), and only what
// answered is registered, with the groups that follow from its capabilities. When Run returns, the name is visible here and calls reach it.
//
// A session of the registry that is lost is replaced by a new one, and the server goes on as a new instance, with the same first child; clients
// with sessions have to initialize again. Running ends by itself when the first child ends, the name is somebody else's by then, or the registry is closed; the name
// is given up at once.
//
// ctx covers the start; when it ends first, nothing is left registered or running. The caller must Close what it got, and does so before it closes reg and
// conn.
func Run(ctx context.Context, conn *bus.Conn, reg *registry.Registry, name string, command []string, opts *RunOptions) (*Running, error) {
	name, err := registry.ParseName(name)
	if err != nil {
		return nil, err
	}
	o, stdio := opts.withDefaults()
	if err := free(ctx, conn, reg, name); err != nil {
		return nil, err
	}
	backend, err := StartStdio(ctx, command, stdio)
	if err != nil {
		return nil, err
	}
	info := backend.Info()
	r := &Running{
		conn: conn, reg: reg, name: name, opts: o, log: o.Logger.With("name", name), backend: backend,
		asked: make(chan struct{}), done: make(chan struct{}),
		record: registry.RegisterOptions{
			Kind: Kind, Groups: groups(info.Groups(), o.Groups), Labels: o.Labels, Metadata: metadata(info, backend.Pid(), o.Metadata),
		},
	}
	if r.hold, err = r.take(ctx, nil); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
		defer cancel()
		_ = backend.Close(stop) // every step of it is bounded
		return nil, err
	}
	go r.keep()
	return r, nil
}

// probePatience is how long the holder of a name may take to say that it lives.
const probePatience = 500 * time.Millisecond

// free returns an error when somebody who answers holds the name.
func free(ctx context.Context, conn *bus.Conn, reg *registry.Registry, name string) error {
	if err := reg.WaitSynced(ctx); err != nil {
		return err
	}
	held, err := reg.Whereis(name)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	probe, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	if _, err := conn.Request(probe, "toolbus.ctl."+reg.Scope()+"."+held.Session, nil); err != nil {
		return ctx.Err() // killed a moment ago, perhaps: Register finds out
	}
	return &registry.NameTakenError{Name: name, Owner: held}
}

// groups joins what the server declares with what was asked for.
func groups(declared, asked []string) []string {
	all := slices.Clone(declared)
	for _, g := range asked {
		if folded, err := registry.ParseName(g); err == nil {
			g = folded // a bad one is Register's to refuse
		}
		if !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	return all
}

// metadata is what the record says about the server. What was asked for goes before what the server says.
func metadata(info Info, pid int, asked map[string]string) map[string]string {
	m := map[string]string{
		MetaVersion: info.Version, MetaEra: string(info.Era), MetaPID: strconv.Itoa(pid), MetaInstructions: clean(info.Instructions, 500),
	}
	for key, raw := range map[string]json.RawMessage{MetaServer: info.Server, MetaCapabilities: info.Capabilities} {
		var line bytes.Buffer
		if len(raw) <= maxMetadata && json.Compact(&line, raw) == nil {
			m[key] = line.String()
		}
	}
	maps.DeleteFunc(m, func(_, value string) bool { return value == "" })
	maps.Copy(m, asked)
	return m
}

// Name is the name, as it is registered.
func (r *Running) Name() string { return r.name }

// Instance is the id of the hosted server; a new one with each session of the registry.
func (r *Running) Instance() string { return r.Record().Instance }

// Info is what the server said about itself.
func (r *Running) Info() Info { return r.backend.Info() }

// Groups are the groups that it has joined.
func (r *Running) Groups() []string { return slices.Clone(r.record.Groups) }

// Backend is what serves, for those who ask after its processes.
func (r *Running) Backend() *Stdio { return r.backend }

// Record is the registration as it was last known here.
func (r *Running) Record() registry.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hold.registration.Record()
}

// Done is closed when the name was given up and every child is gone, after Close or by itself.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err is nil before Done and after Close; else it says why Running ended: an *ExitError of the first child, a *registry.NameTakenError,
// registry.ErrLost, registry.ErrClosed.
func (r *Running) Err() error {
	select {
	case <-r.done:
		return r.err
	default:
		return nil
	}
}

// Close gives the name up, lets the calls in flight end for at most a second, ends every child and waits for all of that. When ctx ends first
// it returns ctx's error, and the ending goes on.
func (r *Running) Close(ctx context.Context) error {
	r.once.Do(func() { close(r.asked) })
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var _ wire.Backend = (*Stdio)(nil)
