package registry

import (
	"maps"
	"slices"
	"strings"
)

// Whereis returns who holds name, from the view: one look-up in memory, no I/O, no lock, no copy. ErrNotFound if nobody does, ErrBadName if it is not a
// name: then the record is nil. It is the view's own and never changes, what comes after is another: do not change it. It may be called concurrently.
func (r *Registry) Whereis(name string) (*Record, error) { return r.view.whereis(name) }

func (v *view) whereis(name string) (*Record, error) {
	rec, ok := v.names.read(name) // a name that is there is a name: only what is not has to be looked at
	if !ok {                      // a step is being applied: before it or after it, never in the middle
		v.mu.RLock()
		rec = v.names.find(name)
		v.mu.RUnlock()
	}
	if rec != nil {
		return rec, nil
	}
	folded, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	if folded == name {
		return nil, ErrNotFound
	}
	return v.whereis(folded)
}

// Describe is Whereis with the groups of the instance filled in.
func (r *Registry) Describe(name string) (Record, error) { return r.view.describe(name) }

func (v *view) describe(name string) (Record, error) {
	found, err := v.whereis(name)
	if err != nil {
		return Record{}, err
	}
	rec := *found
	rec.Groups = v.groupsOf(rec.Instance)
	return rec, nil
}

// Names lists all names, sorted.
func (r *Registry) Names() []string { return r.view.listNames() }

func (v *view) listNames() []string {
	v.lockIndex()
	defer v.mu.RUnlock()
	return slices.AppendSeq(make([]string, 0, v.names.len()), v.index.names.from(""))
}

// List returns all registrations with the groups of their instances, sorted by name.
func (r *Registry) List() []Record { return r.view.list() }

func (v *view) list() []Record {
	v.lockIndex()
	defer v.mu.RUnlock()
	out := make([]Record, 0, v.names.len())
	for name := range v.index.names.from("") {
		out = append(out, v.withGroups(v.names.find(name)))
	}
	return out
}

// Members lists the members of a group, the oldest first. A group that nobody is in has none; ErrBadName if it is not a name. The slice is the
// view's own and never changes, so reading it costs no more than Whereis: do not change it, or the maps in it.
func (r *Registry) Members(group string) ([]Member, error) { return r.view.members(group) }

func (v *view) members(group string) ([]Member, error) {
	group, err := ParseName(group)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if list := v.lists[group]; list != nil {
		return list.get(v.groups[group]), nil
	}
	return nil, nil
}

// LocalMembers is Members of this registry's node alone: those whose Node is Registry.Node.
func (r *Registry) LocalMembers(group string) ([]Member, error) {
	return r.view.localMembers(group, r.node)
}

func (v *view) localMembers(group, node string) ([]Member, error) {
	group, err := ParseName(group)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if list := v.lists[group]; list != nil {
		return list.on(node, v.groups[group]), nil
	}
	return nil, nil
}

// MemberCount says how many members a group has; ErrBadName if it is not a name.
func (r *Registry) MemberCount(group string) (int, error) { return r.view.memberCount(group) }

func (v *view) memberCount(group string) (int, error) {
	group, err := ParseName(group)
	if err != nil {
		return 0, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.groups[group]), nil
}

// Groups lists the groups that have members, sorted.
func (r *Registry) Groups() []string { return r.view.listGroups() }

func (v *view) listGroups() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Sorted(maps.Keys(v.groups))
}

// GroupsOf lists the groups of an instance, sorted.
func (r *Registry) GroupsOf(instance string) []string { return r.view.groupsOf(instance) }

func (v *view) groupsOf(instance string) []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Sorted(maps.Keys(v.joined[instance]))
}

// Lease returns a session as the view shows it; false if it is not alive.
func (r *Registry) Lease(session string) (Lease, bool) { return r.view.lease(session) }

func (v *view) lease(session string) (Lease, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	l := v.leases[session]
	if l == nil {
		return Lease{}, false
	}
	return *l, true
}

// Leases lists the sessions that are alive, in the order in which they started.
func (r *Registry) Leases() []Lease { return r.view.listLeases() }

func (v *view) listLeases() []Lease {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]Lease, 0, len(v.leases))
	for _, l := range v.leases {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Lease) int {
		if c := a.Started.Compare(b.Started); c != 0 {
			return c
		}
		return strings.Compare(a.Session, b.Session)
	})
	return out
}

// Instance returns the registration of a hosted server by its instance; ErrNotFound if it has none. Of many (a session that hosts no server
// may hold many names) it is the one that was claimed first.
func (r *Registry) Instance(instance string) (Record, error) { return r.view.instance(instance) }

func (v *view) instance(instance string) (Record, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var first *Record
	for _, rec := range v.holds[instance] {
		if first == nil || rec.Token < first.Token || rec.Token == first.Token && rec.Name < first.Name {
			first = rec
		}
	}
	if first == nil {
		return Record{}, ErrNotFound
	}
	return *first, nil
}
