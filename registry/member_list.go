package registry

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// memberList is the members of one group as readers get them: slices that never change once they are made, so that reading copies and allocates
// nothing. A change makes the next reader make a new one; a member that is new, and so the youngest, is only appended.
type memberList struct {
	all   atomic.Pointer[[]Member] // oldest first; nil: to be made
	local atomic.Pointer[localList]
}

// localList is the members that are on one node.
type localList struct {
	node    string
	members []Member
}

// changed takes in that a member came (was is nil), went (now is nil) or changed. It runs under mu.
func (l *memberList) changed(was, now *Member) {
	l.local.Store(nil)
	old := l.all.Load()
	if old == nil {
		return
	}
	if n := len(*old); was == nil && (n == 0 || (*old)[n-1].Token < now.Token) {
		// Whoever has the old slice does not see beyond its end, and nobody but this list appends to it.
		all := append(*old, *now)
		l.all.Store(&all)
		return
	}
	l.all.Store(nil)
}

// get returns the list, made of members where it has to be. It runs under mu, shared.
func (l *memberList) get(members map[string]*Member) []Member {
	all := l.all.Load()
	if all == nil {
		made := make([]Member, 0, len(members))
		for _, m := range members {
			made = append(made, *m)
		}
		slices.SortFunc(made, olderMember)
		all = &made
		l.all.Store(all)
	}
	return slices.Clip(*all)
}

// on returns the part of the list that is on node.
func (l *memberList) on(node string, members map[string]*Member) []Member {
	if local := l.local.Load(); local != nil && local.node == node {
		return local.members
	}
	local := &localList{node: node}
	for _, m := range l.get(members) {
		if m.Node == node {
			local.members = append(local.members, m)
		}
	}
	local.members = slices.Clip(local.members)
	l.local.Store(local)
	return local.members
}

// olderMember orders members by when they joined.
func olderMember(a, b Member) int {
	return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Instance, b.Instance))
}

// listed takes a changed membership into the group's list. It runs under mu.
func (v *view) listed(group string, was, now *Member) {
	if len(v.groups[group]) == 0 {
		delete(v.lists, group)
		return
	}
	list := v.lists[group]
	if list == nil {
		list = new(memberList)
		v.lists[group] = list
	}
	list.changed(was, now)
}
