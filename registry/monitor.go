package registry

import (
	"context"
)

// Down is the one notice of a monitor: what it watched has ended.
type Down struct {
	What   string // the name, the session, or group and instance
	Reason Reason
}

// monitor waits for the end of one record. The view fires it once.
type monitor struct {
	what string
	down chan Down
	over <-chan struct{} // closed when nobody waits any more
}

// Monitor returns a channel that gets one Down when whoever holds name now no longer does, and nothing more: a new owner is not followed. It
// is ErrNotFound if nobody holds it, ErrBadName if it is not a name. When ctx ends first, the channel stays silent.
func (r *Registry) Monitor(ctx context.Context, name string) (<-chan Down, error) {
	name, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	return r.view.monitor(ctx, nameKey(name), name)
}

// MonitorSession is Monitor for a session: one Down when its lease has ended.
func (r *Registry) MonitorSession(ctx context.Context, session string) (<-chan Down, error) {
	return r.view.monitor(ctx, leaseKey(session), session)
}

// MonitorMember is Monitor for one membership.
func (r *Registry) MonitorMember(ctx context.Context, group, instance string) (<-chan Down, error) {
	group, err := ParseName(group)
	if err != nil {
		return nil, err
	}
	return r.view.monitor(ctx, groupKey(group, instance), group+"/"+instance)
}

func (v *view) monitor(ctx context.Context, key, what string) (<-chan Down, error) {
	m := &monitor{what: what, down: make(chan Down, 1), over: ctx.Done()}
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.records[key]
	_, name := splitKey(key)
	if !v.records.visible(e) && v.records.shown(e, v.sharer(name, e)) == nil {
		return nil, ErrNotFound
	}
	if v.monitors[key] == nil {
		v.monitors[key] = map[*monitor]struct{}{}
	}
	v.monitors[key][m] = struct{}{}
	context.AfterFunc(ctx, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if delete(v.monitors[key], m); len(v.monitors[key]) == 0 {
			delete(v.monitors, key)
		}
	})
	return m.down, nil
}

// fire tells those who wait for the end of key's record. It runs under mu and never waits.
func (v *view) fire(key string, reason Reason) {
	for m := range v.monitors[key] {
		select {
		case <-m.over:
		default:
			m.down <- Down{What: m.what, Reason: reason}
		}
	}
	delete(v.monitors, key)
}
