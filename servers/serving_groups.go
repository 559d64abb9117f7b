package servers

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// ask asks the server what it is. One that is no Describer is nothing in particular.
func (s *Serving) ask(ctx context.Context) (Info, error) {
	if d, ok := s.backend.(Describer); ok {
		return d.Describe(ctx)
	}
	return Info{}, nil
}

// wanted are the groups and the metadata that the server shall have: what follows from its own words, and what its owner has given. s.mu is held.
func (s *Serving) wanted() (groups []string, metadata map[string]string) {
	groups = slices.Clone(s.info.Groups())
	for _, group := range s.opts.Groups {
		if folded, err := registry.ParseName(group); err == nil {
			group = folded
		}
		if !slices.Contains(groups, group) { // a bad one is Register's to refuse
			groups = append(groups, group)
		}
	}
	metadata = s.info.Metadata()
	maps.Copy(metadata, s.opts.Metadata)
	return groups, metadata
}

// Groups are the groups that it is in, or is to be in when it is served again.
func (s *Serving) Groups() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire != nil {
		return slices.Clone(s.joined)
	}
	groups, _ := s.wanted()
	return groups
}

// Refresh asks the server again what it can do, joins or leaves tools, resources and prompts accordingly, and shows what it says. A server of the SDK
// is asked by itself after its lists have changed; one that speaks no legacy protocol, or has ListChanged switched off, tells nobody, and
// needs a Refresh. What Refresh could not do the next one does.
func (s *Serving) Refresh(ctx context.Context) error {
	info, err := s.ask(ctx)
	if err != nil {
		return err
	}
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return ErrClosed
	}
	s.info = info
	if s.adapter != nil && info.Era == Legacy {
		s.adapter.Describe(info.Result)
	}
	registration, serving, before, shown := s.registration, s.wire, slices.Clone(s.joined), s.shown
	groups, metadata := s.wanted()
	s.mu.Unlock()
	if serving == nil { // between two sessions: the next claim says it
		return nil
	}
	for _, group := range groups {
		if slices.Contains(before, group) {
			continue
		}
		if _, err := registration.Join(ctx, group, nil); err != nil {
			return err
		}
		if err := serving.Join(group); err != nil {
			return err
		}
		s.mu.Lock()
		s.joined = append(s.joined, group)
		s.mu.Unlock()
	}
	for _, group := range before {
		if slices.Contains(groups, group) {
			continue
		}
		serving.Leave(group)
		if err := registration.Leave(ctx, group); err != nil {
			return err
		}
		s.mu.Lock()
		s.joined = slices.DeleteFunc(slices.Clone(s.joined), func(g string) bool { return g == group })
		s.mu.Unlock()
	}
	if maps.Equal(metadata, shown) {
		return nil
	}
	if err := registration.Update(ctx, func(r *registry.Record) { r.Metadata = metadata }); err != nil {
		return err
	}
	s.mu.Lock()
	s.shown = metadata
	s.mu.Unlock()
	return nil
}

// keepUp refreshes whenever the server says that it has changed, until the Serving ends.
func (s *Serving) keepUp(b Changing) {
	changed := make(chan struct{}, 1)
	changed <- struct{}{} // what changed since it was asked, and before it was listened to
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := b.Changes(s.ctx, changed); err != nil && s.ctx.Err() == nil {
			s.host.log.Info("the server does not tell when it changes", "name", s.name, "err", err)
		}
	}()
	defer func() { <-over }()
	pause := time.Duration(0)
	for {
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		if err := s.Refresh(s.ctx); err == nil {
			pause = 0
		} else if s.ctx.Err() == nil {
			s.host.log.Warn("the server's groups are not up to date", "name", s.name, "err", err)
			pause = min(2*pause+100*time.Millisecond, 5*time.Second)
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}
