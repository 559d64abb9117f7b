package servers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// Transport is an mcp.Transport to a server on the bus: by Name, by Group (a member of it) or by Instance (exactly that one). What the
// client says decides the era: after initialize the session is pinned to the instance that answered it; modern requests go each to any
// instance of the name or member of the group. With a Registry that knows the server as one of the legacy protocol alone, the client is told so, and
// the two speak that; without one the client's question for the modern protocol is answered well, and its requests are translated at the server.
//
// A failed call is an error of that call (Failed reads it); the session ends, and every call with it, when the instance that it is pinned to is gone.
// With a Registry the end of that instance's lease ends calls at once, errors say whether the name exists at all, and a request that nobody listens for though
// the name is registered is sent once more after 50 ms (its owner may be about to listen); without one, probes find an end
// within about two seconds. Each value connects once, as the SDK asks.
type Transport struct {
	Conn     *bus.Conn
	Registry *registry.Registry // optional

	Scope string // "": the Registry's, else "default"
	Name  string
	Group string
	// Instance needs Name beside it, or a Registry that knows the instance.
	Instance string
	// Token, if not 0, is the fencing token of the owner that is meant: another owner refuses.
	Token kvstore.Revision

	// ProbeTimeout is how long server/discover may take before the client falls back to initialize (0: 5 s), OpenTimeout how long initialize
	// may (0: 1 minute): a server that answers neither does not block Connect for ever.
	ProbeTimeout, OpenTimeout time.Duration
	MaxMessage                int
	Logger                    *slog.Logger
}

// Connect is called by mcp.Client.Connect. It fails for a wrong address only; nothing goes out before the client speaks.
func (t *Transport) Connect(ctx context.Context) (mcp.Connection, error) {
	target, scope, err := t.target()
	if err != nil {
		return nil, err
	}
	opts := &wire.CallerOptions{}
	if t.Registry != nil {
		opts = CallerOptions(t.Registry)
	}
	opts.Scope, opts.MaxMessage, opts.Logger, opts.Limit = scope, t.MaxMessage, t.Logger, t.limit
	pipe, err := wire.Dial(t.Conn, target, opts)
	if err != nil {
		return nil, err
	}
	if t.Registry != nil {
		pipe = agree(pipe, t.Registry, target)
	}
	return &connection{pipe: pipe}, nil
}

func (t *Transport) target() (wire.Target, string, error) {
	if t.Conn == nil {
		return wire.Target{}, "", errors.New("servers: a Transport needs a Conn")
	}
	target := wire.Target{Instance: t.Instance}
	scope := t.Scope
	if scope == "" && t.Registry != nil {
		scope = t.Registry.Scope()
	}
	if t.Token != 0 {
		target.Token = strconv.FormatUint(uint64(t.Token), 10)
	}
	var err error
	if t.Name != "" {
		if target.Name, err = registry.ParseName(t.Name); err != nil {
			return target, "", err
		}
	}
	if t.Group != "" {
		if target.Group, err = registry.ParseName(t.Group); err != nil {
			return target, "", err
		}
	}
	switch {
	case t.Instance == "" || target.Name != "":
	case t.Registry == nil:
		return target, "", errors.New("servers: an instance is addressed with its name, or with a Registry that knows it")
	default:
		record, err := t.Registry.Instance(t.Instance)
		if err != nil {
			return target, "", fmt.Errorf("servers: instance %s: %w", t.Instance, err)
		}
		target.Name = record.Name
	}
	if target.Name == "" && target.Group == "" {
		return target, "", errors.New("servers: a Transport needs a Name, a Group or an Instance")
	}
	return target, scope, nil
}

func (t *Transport) limit(method string) time.Duration {
	switch method {
	case "server/discover":
		return orElse(t.ProbeTimeout, 5*time.Second)
	case "initialize":
		return orElse(t.OpenTimeout, time.Minute)
	}
	return 0
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// ended tells the wire when the lease of an instance has ended. Lease ids are never used again, so one that is not in an up-to-date view is dead.
func ended(ctx context.Context, reg *registry.Registry, o wire.Owner) <-chan string {
	why := make(chan string, 1)
	if o.Lease == "" {
		return why
	}
	down, err := reg.MonitorSession(ctx, o.Lease)
	var once sync.Once
	say := func(text string) { once.Do(func() { why <- text }) }
	go func() { // ends with ctx, which the wire ends when nobody cares any more
		for err != nil {
			if !errors.Is(err, registry.ErrNotFound) {
				return // the registry is closed: the wire's own probes are left
			}
			if refreshErr := reg.Refresh(ctx); refreshErr == nil { // this view may be behind
				if down, err = reg.MonitorSession(ctx, o.Lease); errors.Is(err, registry.ErrNotFound) {
					say("its lease has ended")
					return
				}
				continue
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
		select {
		case d := <-down:
			say("its lease ended: " + string(d.Reason))
		case <-ctx.Done():
		}
	}()
	return why
}

// held tells whether somebody should listen at an address: who registers a name is seen a moment before he listens.
func held(reg *registry.Registry, to wire.Target) bool {
	if to.Group != "" {
		members, err := reg.Members(to.Group)
		return err == nil && len(members) > 0
	}
	record, err := reg.Whereis(to.Name)
	return err == nil && (to.Instance == "" || record.Instance == to.Instance)
}

// unanswered says more about an address that nobody listens at.
func unanswered(reg *registry.Registry, to wire.Target) *wire.Error {
	facts := wire.Facts{Name: to.Name, Group: to.Group, Instance: to.Instance, Executed: "no"}
	if to.Group != "" {
		members, err := reg.Members(to.Group)
		if err != nil || len(members) == 0 {
			facts.Why = "the group has no member"
			return wire.NewError(wire.CodeNoName, "no server is in group "+to.Group, facts)
		}
		facts.Why = fmt.Sprintf("it has %d members, none of which listens", len(members))
		return wire.NewError(wire.CodeNoResponders, "nobody answers for group "+to.Group, facts)
	}
	record, err := reg.Whereis(to.Name)
	if err != nil {
		facts.Why = "nobody has registered it"
		return wire.NewError(wire.CodeNoName, "no server is registered as "+to.Name, facts)
	}
	if to.Instance != "" && record.Instance != to.Instance {
		facts.Why = fmt.Sprintf("the name is served by instance %s now", record.Instance)
		return wire.NewError(wire.CodeNoResponders, fmt.Sprintf("instance %s of %s is gone", to.Instance, to.Name), facts)
	}
	facts.Instance, facts.Lease = record.Instance, record.Session
	facts.Why = fmt.Sprintf("held by %s since %s, which does not listen", record.Holder(), record.Since.UTC().Format(time.RFC3339))
	return wire.NewError(wire.CodeNoResponders, "nobody answers for "+to.Name, facts)
}
