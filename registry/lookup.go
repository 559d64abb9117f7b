package registry

import (
	"context"
	"errors"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Lookup reads one name without a view: its record, then its owner's lease, both from the leader of the log; of a shared name whose record's owner is
// dead also its replicas and their leases. It is for commands that ask once. ErrNotFound if nobody holds the name, ErrBadName if it is none; errors of the store as they are. A leader that is cut off from
// the others may answer with what was true up to 10 s ago. Groups are not filled in.
func Lookup(ctx context.Context, store kvstore.Store, name string) (Record, error) {
	name, err := ParseName(name)
	if err != nil {
		return Record{}, err
	}
	e, err := get(ctx, store, nameKey(name))
	if err != nil {
		return Record{}, err
	}
	rec, ok := e.value.(*Record)
	if !ok {
		return Record{}, ErrNotFound
	}
	rs := records{e.key: e}
	if err := rs.read(ctx, store, leaseKey(rec.Session)); err != nil {
		return Record{}, err
	}
	var sharer *entry
	if rec.Digest != "" && !rs.visible(e) {
		replicas, _, err := store.List(ctx, replicaKey(name, ""))
		if err != nil {
			return Record{}, err
		}
		for _, in := range replicas {
			replica := decode(in)
			if replica.session == "" {
				continue
			}
			rs[replica.key] = replica
			if err := rs.read(ctx, store, leaseKey(replica.session)); err != nil {
				return Record{}, err
			}
		}
		sharer = rs.sharer(name, rec.Digest)
	}
	shown := rs.shown(e, sharer)
	if shown == nil {
		return Record{}, ErrNotFound
	}
	return *shown, nil
}

// read adds a record, if it is there.
func (rs records) read(ctx context.Context, store kvstore.Store, key string) error {
	e, err := get(ctx, store, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		rs[key] = e
	}
	return err
}

func get(ctx context.Context, store kvstore.Store, key string) (*entry, error) {
	e, err := store.Get(ctx, key)
	if errors.Is(err, kvstore.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return decode(e), nil
}

// Snapshot is the state of a scope at one revision. It does not follow the log.
type Snapshot struct{ v *view }

// Load reads the state of a scope once. A scope that nobody has written to is empty.
func Load(ctx context.Context, store kvstore.Store) (*Snapshot, error) {
	entries, revision, err := store.List(ctx, "")
	if err != nil {
		return nil, err
	}
	v := newView()
	v.apply(kvstore.Step{Kind: kvstore.Snapshot, Entries: entries, Revision: revision, Log: "snapshot"})
	return &Snapshot{v}, nil
}

// Revision is the revision at which the snapshot is true.
func (s *Snapshot) Revision() kvstore.Revision {
	revision, _, _ := s.v.at()
	return revision
}

// Whereis, Describe, Names, List, Members, Groups, GroupsOf, Lease and Leases read as those of Registry do.
func (s *Snapshot) Whereis(name string) (*Record, error) { return s.v.whereis(name) }

// Describe is Whereis with the groups filled in.
func (s *Snapshot) Describe(name string) (Record, error) { return s.v.describe(name) }

// Names lists all names, sorted.
func (s *Snapshot) Names() []string { return s.v.listNames() }

// List returns all registrations, sorted by name.
func (s *Snapshot) List() []Record { return s.v.list() }

// Members lists the members of a group, the oldest first.
func (s *Snapshot) Members(group string) ([]Member, error) { return s.v.members(group) }

// Groups lists the groups that have members, sorted.
func (s *Snapshot) Groups() []string { return s.v.listGroups() }

// GroupsOf lists the groups of an instance, sorted.
func (s *Snapshot) GroupsOf(instance string) []string { return s.v.groupsOf(instance) }

// Lease returns a session; false if it is not alive.
func (s *Snapshot) Lease(session string) (Lease, bool) { return s.v.lease(session) }

// Leases lists the sessions that are alive.
func (s *Snapshot) Leases() []Lease { return s.v.listLeases() }

// Keeper says who keeps the scope; ok is false where the pulse has stopped and ended, or never began.
func (s *Snapshot) Keeper() (k Keeper, ok bool) { return s.v.keeper() }

// Keeper is who keeps a scope, by its newest pulse.
type Keeper struct {
	Node     string            `json:"node"`
	Process  string            `json:"process"`
	Role     Role              `json:"role"`
	Sessions int               `json:"sessions"` // that it knew
	Answered int               `json:"answered"` // that answered the roll call which the pulse reports
	At       time.Time         `json:"at"`       // the keeper's clock
	Revision kvstore.Revision  `json:"revision"`
	Missing  []string          `json:"missing,omitempty"`
	Ended    map[string]Reason `json:"ended,omitempty"`
}

// Keeper says who keeps the scope, as the view shows it; ok is false where nobody does.
func (r *Registry) Keeper() (k Keeper, ok bool) { return r.view.keeper() }

func (v *view) keeper() (Keeper, bool) {
	p, _ := v.pulse()
	if p == nil {
		return Keeper{}, false
	}
	return Keeper{
		Node: p.Node, Process: p.Keeper, Role: p.Role, Sessions: p.Leases, Answered: p.Answered, At: p.At, Revision: p.revision,
		Missing: p.Missing, Ended: p.Ended,
	}, true
}

// Probe asks a session whether it listens: nil if it answers, an error with NoResponders() true if nobody does, another if no answer came in
// time. It is for commands, where the pulse has stopped.
func Probe(ctx context.Context, peers Peers, scope, session string) error {
	_, err := peers.Request(ctx, controlSubject(scope, session), nil)
	return err
}
