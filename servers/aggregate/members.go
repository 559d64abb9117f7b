package aggregate

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// watch keeps the set of members as the registry shows it.
func (e *Endpoint) watch() {
	for e.ctx.Err() == nil {
		seen := map[string]bool{} // before Synced
		for event, err := range e.reg.Watch(e.ctx, nil) {
			if err != nil {
				e.log.Debug("the registry is read anew", "err", err)
				break
			}
			switch event.Kind {
			case registry.Synced:
				e.drop(func(name string) bool { return !seen[name] })
				seen = nil
				e.once()
			case registry.Registered, registry.Updated, registry.Unregistered:
				if seen != nil {
					seen[event.Record.Name] = true
				}
				e.consider(event.Record.Name)
			case registry.Joined, registry.Left:
				if e.opts.Group != "" && event.Member.Group == e.opts.Group && event.Member.Name != "" {
					e.consider(event.Member.Name)
				}
			}
		}
		select {
		case <-time.After(time.Second):
		case <-e.ctx.Done():
		}
	}
}

// once notes that the registry's view was read.
func (e *Endpoint) once() {
	select {
	case <-e.found:
	default:
		close(e.found)
	}
}

// consider makes a name a member, or none, as the view shows it now.
func (e *Endpoint) consider(name string) {
	record, err := e.reg.Describe(name)
	if err != nil || !e.wanted(record) {
		e.drop(func(n string) bool { return n == name })
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return
	}
	m := e.members[name]
	if m != nil {
		if m.record.Instance != record.Instance || m.record.Token != record.Token || !maps.Equal(m.record.Metadata, record.Metadata) {
			m.record = record
			m.touch(allKinds)
		}
		return
	}
	ctx, cancel := context.WithCancel(e.ctx)
	m = &member{e: e, name: name, record: record, cancel: cancel, stir: make(chan struct{}, 1), until: time.Now().Add(e.opts.Patience)}
	e.members[name] = m
	e.work.Go(func() { m.run(ctx) })
}

// wanted tells whether a registration is part of the endpoint.
func (e *Endpoint) wanted(record registry.Record) bool {
	if record.Kind == Kind || e.opts.Skip != nil && e.opts.Skip(record) {
		return false
	}
	if e.opts.Group != "" {
		return slices.Contains(record.Groups, e.opts.Group)
	}
	for _, key := range []string{servers.MetaEra, servers.MetaVersion, servers.MetaCapabilities} {
		if record.Metadata[key] != "" {
			return true
		}
	}
	return slices.ContainsFunc(record.Groups, func(g string) bool { return g == "tools" || g == "resources" || g == "prompts" })
}

// drop ends members.
func (e *Endpoint) drop(which func(name string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, m := range e.members {
		if which(name) {
			m.cancel()
			delete(e.members, name)
			e.change()
		}
	}
}

// touch has some lists of a member read again.
func (e *Endpoint) touch(m *member, which kindSet) {
	e.mu.Lock()
	m.touch(which)
	e.mu.Unlock()
}

// loaded takes what a member lists now.
func (e *Endpoint) loaded(m *member, which kindSet, lists [kinds][]item) {
	e.mu.Lock()
	if e.members[m.name] != m {
		e.mu.Unlock()
		return
	}
	for k := range kinds {
		if which.has(k) {
			m.lists[k] = lists[k]
		}
	}
	back := !m.loaded || which == allKinds
	m.loaded, m.settled = true, true
	e.change()
	var all []*conversation
	if back {
		for c := range e.conversations {
			all = append(all, c)
		}
	}
	e.mu.Unlock()
	for _, c := range all {
		c.back(m.name)
	}
}

// failed notes that a member did not answer. What it listed before is shown until it is given up.
func (e *Endpoint) failed(m *member, givenUp bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members[m.name] != m {
		return
	}
	m.settled = true
	if givenUp {
		m.loaded = false
		m.lists = [kinds][]item{}
	}
	e.change()
}

// change has the table made anew, and lets those look again who wait for members. The lock is held.
func (e *Endpoint) change() {
	e.now = nil
	close(e.moved)
	e.moved = make(chan struct{})
	select {
	case e.stale <- struct{}{}:
	default:
	}
}

// table is the table as it is now.
func (e *Endpoint) table() *table {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == nil {
		var from []contribution
		for name, m := range e.members {
			if m.loaded {
				resources := declares(m.record).has(resources)
				from = append(from, contribution{server: name, age: uint64(m.record.Token), resources: resources, lists: m.lists})
			}
		}
		e.now = newTable(from)
	}
	return e.now
}

// settled waits until every member has answered or failed once, each for as long as the endpoint's patience.
func (e *Endpoint) settled(ctx context.Context) {
	select {
	case <-e.found:
	case <-time.After(e.opts.Patience):
	case <-ctx.Done():
		return
	}
	for {
		var until time.Time
		e.mu.Lock()
		for _, m := range e.members {
			if !m.settled && m.until.After(until) {
				until = m.until
			}
		}
		moved := e.moved
		e.mu.Unlock()
		wait := time.Until(until)
		if wait <= 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-moved:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// spread tells the clients when what they are shown has changed.
func (e *Endpoint) spread() {
	for {
		select {
		case <-e.stale:
		case <-e.ctx.Done():
			return
		}
		select {
		case <-time.After(quiet):
		case <-e.ctx.Done():
			return
		}
		t := e.table()
		e.mu.Lock()
		which := t.differs(e.shown)
		e.shown = t
		var all []*conversation
		for c := range e.conversations {
			all = append(all, c)
		}
		e.mu.Unlock()
		if which == 0 {
			continue
		}
		for _, c := range all {
			c.changed(which)
		}
	}
}

const maxInstructions = 16 << 10

// instructions are what the servers say about themselves, each under its name.
func (e *Endpoint) instructions() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e.members)) {
		text := e.members[name].record.Metadata[servers.MetaInstructions]
		if text == "" || b.Len()+len(text) > maxInstructions {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(name + ": " + text)
	}
	return b.String()
}
