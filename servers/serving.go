package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// Serving is one server under one name. Its methods may be called concurrently.
type Serving struct {
	host     *Host
	name     string
	server   *mcp.Server
	backend  *backend
	opts     ServeOptions
	metadata map[string]string

	taking sync.Mutex // held while the name is claimed, groups change, or it ends

	mu           sync.Mutex
	groups       []string // by capability
	registration *registry.Registration
	wire         *wire.Serving
	over         bool
	err          error
	done         chan struct{}
}

// take claims the name in a session and serves it.
func (s *Serving) take(ctx context.Context, session *registry.Session) error {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	over, groups := s.over, s.allGroups()
	s.mu.Unlock()
	if over {
		return ErrClosed
	}
	instance := newInstance()
	registration, err := session.Register(ctx, s.name, &registry.RegisterOptions{
		Instance: instance, Kind: s.opts.Kind, Groups: groups, Metadata: s.metadata, Labels: s.opts.Labels,
	})
	if err != nil {
		return err
	}
	h := s.host
	h.mu.Lock()
	server := h.server
	h.mu.Unlock()
	serving, err := server.Serve(ctx, wire.ServeOptions{
		Name: s.name, Instance: instance, Lease: session.ID(), Token: strconv.FormatUint(uint64(registration.Token()), 10),
		Groups: groups, Valid: registration.Serving, MaxInFlight: s.opts.MaxInFlight, MaxSessions: s.opts.MaxSessions, Logger: h.log,
	}, s.backend)
	if err != nil {
		s.unregister(registration)
		return err
	}
	s.mu.Lock()
	s.registration, s.wire = registration, serving
	s.mu.Unlock()
	h.spawn(func() { s.follow(registration) }) // a closed Host ends it anyway
	h.log.Info("serving", "name", s.name, "instance", instance, "session", session.ID(), "groups", groups)
	return nil
}

// follow ends the Serving when the name is lost though its session goes on. The end of the session is the Host's matter.
func (s *Serving) follow(registration *registry.Registration) {
	select {
	case <-registration.Done():
	case <-s.done:
		return
	case <-s.host.ctx.Done():
		return
	}
	if err := registration.Err(); registration.Session().Err() == nil && !errors.Is(err, registry.ErrSessionEnded) {
		s.end(fmt.Errorf("servers: %s: %w", s.name, err))
	}
}

// release stops to answer for a session that has ended.
func (s *Serving) release(session *registry.Session) {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	serving := s.wire
	if s.registration == nil || s.registration.Session() != session {
		serving = nil
	} else {
		s.wire = nil
	}
	s.mu.Unlock()
	if serving != nil {
		_ = serving.Close() // always nil
	}
}

// end gives the name up and ends what served it. why nil is an ordinary end.
func (s *Serving) end(why error) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.err = true, why
	s.mu.Unlock()
	s.host.forget(s)
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	registration, serving := s.registration, s.wire
	s.mu.Unlock()
	if registration != nil {
		s.unregister(registration)
	}
	if serving != nil {
		_ = serving.Close() // always nil
	}
	close(s.done)
}

func (s *Serving) unregister(registration *registry.Registration) {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	if err := registration.Unregister(ctx); err != nil && !errors.Is(err, registry.ErrSessionEnded) {
		s.host.log.Warn("the name is not given up in the registry yet", "name", s.name, "err", err)
	}
}

// Close gives the name up, and ends the calls and sessions of the server: they are told. It waits for that. Closing again is fine.
func (s *Serving) Close() error {
	s.end(nil)
	<-s.done
	return nil
}

// Done is closed when the name is served no more.
func (s *Serving) Done() <-chan struct{} { return s.done }

// Err is nil while it is served, and after Close; else it says why the name was lost: a *registry.NameTakenError if somebody else has it.
func (s *Serving) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Name is the name.
func (s *Serving) Name() string { return s.name }

// Record is the registration as it stands; after a lost session it is that of the new one.
func (s *Serving) Record() registry.Record {
	s.mu.Lock()
	registration := s.registration
	s.mu.Unlock()
	if registration == nil {
		return registry.Record{Name: s.name}
	}
	return registration.Record()
}

// Serving tells whether the server may answer now: the name is held and the session is valid.
func (s *Serving) Serving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.over && s.wire != nil && s.registration.Serving()
}

// allGroups are those by capability and the given ones. s.mu is held.
func (s *Serving) allGroups() []string {
	all := slices.Clone(s.groups)
	for _, group := range s.opts.Groups {
		if folded, err := registry.ParseName(group); err == nil {
			group = folded
		}
		if !slices.Contains(all, group) { // a bad one is Register's to refuse
			all = append(all, group)
		}
	}
	return all
}

// Refresh asks the server again what it can do and joins or leaves tools, resources and prompts accordingly. Call it after capabilities
// have changed: a first tool added to a server that had only resources, say.
func (s *Serving) Refresh(ctx context.Context) error {
	said, err := ask(ctx, s.server)
	if err != nil {
		return err
	}
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	if s.over || s.wire == nil {
		s.mu.Unlock()
		return ErrClosed
	}
	before := s.allGroups()
	s.groups = said.groups()
	after, registration, serving := s.allGroups(), s.registration, s.wire
	s.mu.Unlock()
	for _, group := range after {
		if slices.Contains(before, group) {
			continue
		}
		if _, err := registration.Join(ctx, group, nil); err != nil {
			return err
		}
		if err := serving.Join(group); err != nil {
			return err
		}
	}
	for _, group := range before {
		if slices.Contains(after, group) {
			continue
		}
		serving.Leave(group)
		if err := registration.Leave(ctx, group); err != nil {
			return err
		}
	}
	return registration.Update(ctx, func(r *registry.Record) { r.Metadata = describe(said, s.opts.Metadata) })
}
