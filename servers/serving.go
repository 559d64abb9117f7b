package servers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/era"
	"github.com/toolbus/toolbus/servers/wire"
)

// Serving is one server under one name. Its methods may be called concurrently.
type Serving struct {
	host     *Host
	name     string
	instance string
	backend  wire.Backend
	served   wire.Backend // the backend for clients of both eras
	adapter  *era.Adapter // nil if the server speaks the modern era
	opts     ServeOptions

	ctx    context.Context // of claims and of keepUp; ends with the Serving
	cancel context.CancelFunc
	done   chan struct{} // everything has ended

	taking sync.Mutex // held while the name is claimed, groups change, or it ends

	mu           sync.Mutex
	info         Info     // as the server said last
	joined       []string // the groups that it is in
	shown        map[string]string
	registration *registry.Registration
	wire         *wire.Serving
	over         bool
	err          error
}

// take claims the name in a session and serves it.
//
// The claim comes first, and only then does it listen: who listened before would stand in the queue group of the name beside the one that has
// it, and be given its calls. So for a moment, some milliseconds at most, a name is visible that does not answer; a caller with a registry bridges
// that (see Transport).
func (s *Serving) take(ctx context.Context, session *registry.Session) error {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	over, held := s.over, s.wire != nil && s.registration.Session() == session
	groups, metadata := s.wanted()
	s.mu.Unlock()
	switch {
	case over:
		return ErrClosed
	case held: // two sessions ended quickly one after the other
		return nil
	}
	registration, err := session.Register(ctx, s.name, &registry.RegisterOptions{
		Instance: s.instance, Kind: s.opts.Kind, Groups: groups, Metadata: metadata, Labels: s.opts.Labels, Digest: s.opts.Digest,
	})
	if err != nil {
		return err
	}
	h := s.host
	h.mu.Lock()
	server := h.server
	h.mu.Unlock()
	serving, err := server.Serve(ctx, wire.ServeOptions{
		Name: s.name, Instance: s.instance, Lease: session.ID(), Token: strconv.FormatUint(uint64(registration.Token()), 10),
		Groups: groups, Valid: registration.Serving, MaxInFlight: s.opts.MaxInFlight, MaxSessions: s.opts.MaxSessions, Logger: h.log,
	}, s.served)
	if err != nil {
		s.unregister(registration)
		return err
	}
	s.mu.Lock()
	s.registration, s.wire, s.joined, s.shown = registration, serving, groups, metadata
	s.mu.Unlock()
	h.spawn(func() { s.follow(registration) }) // a closed Host ends it anyway
	h.log.Info("serving", "name", s.name, "instance", s.instance, "session", session.ID(), "groups", groups)
	return nil
}

// follow ends the Serving when the name is lost though its session goes on. The end of the session is the Host's matter.
func (s *Serving) follow(registration *registry.Registration) {
	select {
	case <-registration.Done():
	case <-s.ctx.Done():
		return
	}
	if err := registration.Err(); registration.Session().Err() == nil && !errors.Is(err, registry.ErrSessionEnded) {
		s.end(fmt.Errorf("servers: %s: %w", s.name, err), byName)
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

// ending is how a name is given up.
type ending bool

const (
	byName      ending = false // by itself
	withSession ending = true  // with its session, which somebody else ends
)

// end gives the name up and ends what served it, both at once: the registry may be away. why nil is an ordinary end.
func (s *Serving) end(why error, how ending) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.err = true, why
	s.mu.Unlock()
	s.cancel()
	s.host.forget(s)
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	registration, serving := s.registration, s.wire
	s.mu.Unlock()
	var both sync.WaitGroup
	if registration != nil && how == byName {
		both.Go(func() { s.unregister(registration) })
	}
	if serving != nil {
		both.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), s.opts.Drain)
			defer cancel()
			_ = serving.Drain(ctx) // what is not done by then was told
		})
	}
	both.Wait()
	if s.adapter != nil {
		_ = s.adapter.Close() // always nil
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
	s.end(nil, byName)
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

// Instance is the id of the hosted server. It stays when a session is lost and another follows.
func (s *Serving) Instance() string { return s.instance }

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
