package registry

import "slices"

// contender is what this process has in the queue for a name, or among those who share it.
type contender struct {
	h    *holding
	look func()
}

// watchName has look called after each step that changed something about a name, for as long as h is wanted. look must not block.
func (r *Registry) watchName(name string, h *holding, look func()) {
	c := &contender{h: h, look: look}
	r.mu.Lock()
	r.contenders[name] = append(r.contenders[name], c)
	r.mu.Unlock()
	h.onEnd(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		rest := slices.DeleteFunc(r.contenders[name], func(o *contender) bool { return o == c })
		if r.contenders[name] = rest; len(rest) == 0 {
			delete(r.contenders, name)
		}
	})
}

// lookAfterNames lets the contenders of this process look whether their turn has come, after a step that changed something about their names.
func (r *Registry) lookAfterNames(changes []change) {
	r.mu.Lock()
	none := len(r.contenders) == 0
	r.mu.Unlock()
	if none {
		return
	}
	names := map[string]struct{}{}
	contested := func(key string) {
		switch kind, rest := splitKey(key); kind {
		case kindName:
			names[rest] = struct{}{}
		case kindStandby, kindReplica:
			if name, _, ok := splitGroup(rest); ok {
				names[name] = struct{}{}
			}
		}
	}
	for _, c := range changes {
		if kind, session := splitKey(c.key); kind == kindLease {
			for _, e := range r.view.keysOf(session) {
				contested(e.key)
			}
		} else {
			contested(c.key)
		}
	}
	for name := range names {
		r.mu.Lock()
		contenders := slices.Clone(r.contenders[name])
		r.mu.Unlock()
		for _, c := range contenders {
			c.look()
		}
	}
}
