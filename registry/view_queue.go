package registry

import "cmp"

import "github.com/toolbus/toolbus/kvstore"

// nothingCollapsed tells whether the first snapshot of a log that was just made still has every entry of it, so that none was replaced before
// this process saw it.
func nothingCollapsed(step kvstore.Step) bool {
	first := step.Revision
	for _, e := range step.Entries {
		first = min(first, e.Revision)
	}
	return kvstore.Revision(len(step.Entries)) == step.Revision-first+1
}

// judgeReplica brings the index of those who share a name up to date.
func (v *view) judgeReplica(name, instance, key string, reason Reason) {
	v.judgePlace(v.shares, name, instance, key, reason)
}

// judgeStandby brings the queue for a name up to date.
func (v *view) judgeStandby(name, instance, key string, reason Reason) {
	v.judgePlace(v.queues, name, instance, key, reason)
}

// judgePlace brings an index of places up to date.
func (v *view) judgePlace(index map[string]map[string]*entry, name, instance, key string, reason Reason) {
	e, was := v.records[key], index[name][instance]
	visible := v.records.visible(e)
	if visible {
		link(index, name, instance, e)
	} else if was != nil {
		unlink(index, name, instance)
	}
	if was != nil && (!visible || was.session != e.session) {
		v.fire(key, cmp.Or(reason, ReasonReplaced))
	}
}

// sharer is records.sharer by the index.
func (v *view) sharer(name string, e *entry) (first *entry) {
	rec, ok := recordOf(e)
	if !ok || rec.Digest == "" {
		return nil
	}
	for _, e := range v.shares[name] {
		if joinedBefore(e, first, rec.Digest) {
			first = e
		}
	}
	return first
}

// orphan is records.orphan by the index.
func (v *view) orphan(e *entry) bool {
	_, name := splitKey(e.key)
	return v.records.orphan(e, v.sharer(name, e))
}

// leftBy lists the records that a dead session has left and that hold nothing, its lease not among them.
func (v *view) leftBy(session string) (left []*entry) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for key := range v.keys[session] {
		if e := v.records[key]; v.orphan(e) {
			left = append(left, e)
		}
	}
	return left
}

// heir is records.heir by the index.
func (v *view) heir(name string) (first *entry) {
	for _, e := range v.queues[name] {
		if ahead(e, first) {
			first = e
		}
	}
	return first
}
