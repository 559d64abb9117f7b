package registry

// judgeMember brings the members of a group up to date and tells the watchers.
func (v *view) judgeMember(group, instance, key string, reason Reason, collapsed bool) {
	var now *Member
	if e := v.records[key]; v.records.visible(e) {
		now = e.value.(*Member)
	}
	was := v.groups[group][instance]
	if was == now {
		return
	}
	unlink(v.groups, group, instance)
	unlink(v.joined, instance, group)
	if now != nil {
		link(v.groups, group, instance, now)
		link(v.joined, instance, group, now)
	}
	v.listed(group, was, now)
	v.turns.wake(group)
	switch {
	case now != nil && was != nil && was.Session == now.Session:
		v.tell(Event{Kind: MemberUpdated, Member: *now, Collapsed: collapsed})
		return
	case was != nil:
		if reason == "" {
			reason = ReasonReplaced
		}
		v.fire(key, reason)
		v.tell(Event{Kind: Left, Member: *was, Reason: reason, Collapsed: collapsed})
	}
	if now != nil {
		v.tell(Event{Kind: Joined, Member: *now, Collapsed: collapsed})
	}
}

func link[V any](m map[string]map[string]V, outer, inner string, value V) {
	if m[outer] == nil {
		m[outer] = map[string]V{}
	}
	m[outer][inner] = value
}

func unlink[V any](m map[string]map[string]V, outer, inner string) {
	if delete(m[outer], inner); len(m[outer]) == 0 {
		delete(m, outer)
	}
}
