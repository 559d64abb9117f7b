package registry

import (
	"errors"
	"fmt"
)

// ErrNoMembers: there is no member to choose from. The error is a *NoMembersError.
var ErrNoMembers = errors.New("registry: no member")

// NoMembersError says why there was none to choose: the group is empty, or all that are in it are claimed.
type NoMembersError struct {
	Group   string
	Members int // that the group has
	Claimed int // how many of them others have claimed
}

// Error says the group and why.
func (e *NoMembersError) Error() string {
	switch {
	case e.Members == 0:
		return fmt.Sprintf("registry: group %q has no member", e.Group)
	case e.Claimed == e.Members:
		return fmt.Sprintf("registry: group %q has no member to choose: all %d are claimed", e.Group, e.Members)
	}
	return fmt.Sprintf("registry: none of the %d members of group %q was chosen, %d are claimed", e.Members, e.Group, e.Claimed)
}

// Is reports that a NoMembersError is ErrNoMembers.
func (e *NoMembersError) Is(target error) bool { return target == ErrNoMembers }

// Pick chooses one member of a group by a strategy, from the view, without I/O; nil is Random. Members that are claimed are passed over. The member may be gone
// when it is called: whoever calls finds out, and picks again. Errors: ErrNoMembers, ErrBadName. It may be called concurrently.
func (r *Registry) Pick(group string, s Strategy) (Member, error) {
	return r.view.pick(group, r.node, s)
}

// Pick is as Registry.Pick, in the snapshot, where nobody is local.
func (s *Snapshot) Pick(group string, by Strategy) (Member, error) { return s.v.pick(group, "", by) }

func (v *view) pick(group, node string, s Strategy) (Member, error) {
	group, err := ParseName(group)
	if err != nil {
		return Member{}, err
	}
	v.mu.RLock()
	members, all := v.unclaimed(group)
	v.mu.RUnlock()
	m, ok := choose(s, Choice{Group: group, Members: members, Node: node, view: v})
	if !ok {
		return Member{}, &NoMembersError{Group: group, Members: all, Claimed: all - len(members)}
	}
	return m, nil
}

// choose asks a strategy, where there is anything to choose.
func choose(s Strategy, c Choice) (Member, bool) {
	if len(c.Members) == 0 {
		return Member{}, false
	}
	i := 0
	switch {
	case s == nil:
		i = random(c)
	default:
		i = s.Choose(c)
	}
	if i < 0 || i >= len(c.Members) {
		return Member{}, false
	}
	return c.Members[i], true
}

// unclaimed lists the members of a group that nobody has claimed, oldest first, and says how many there are in all. It runs under mu, shared.
func (v *view) unclaimed(group string) (free []Member, all int) {
	list := v.lists[group]
	if list == nil {
		return nil, 0
	}
	members := list.get(v.groups[group])
	claims := v.claims[group]
	if len(claims) == 0 {
		return members, len(members)
	}
	for _, m := range members {
		if claims[m.Instance] == nil {
			free = append(free, m)
		}
	}
	return free, len(members)
}
