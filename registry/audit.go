package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/toolbus/toolbus/kvstore"
)

// Audit is what is in a log that should not be there. None of it holds a name: the judge sees to that. But somebody may want to know, and to clean up.
type Audit struct {
	Records int      // all newest records, tombstones left out
	Bad     []Oddity // records that cannot be read, or do not say what their key says: written by hand, or by another tool
	Foreign []Oddity // keys of a kind that this version does not know: another tool's, or a later version's
	Orphans []Oddity // records of sessions that are dead; who keeps the scope sweeps them, so they are few and young
}

// Oddity is one record that should not be there.
type Oddity struct {
	Key      string           `json:"key"`
	Revision kvstore.Revision `json:"revision"`
	Session  string           `json:"session,omitempty"`
	Why      string           `json:"why"`
}

// Audit looks through all records of the snapshot. The lists are sorted by key.
func (s *Snapshot) Audit() Audit {
	s.v.mu.RLock()
	defer s.v.mu.RUnlock()
	var a Audit
	for key, e := range s.v.records {
		if e.ended {
			continue
		}
		a.Records++
		odd := Oddity{Key: key, Revision: e.revision, Session: e.session}
		switch kind, _ := splitKey(key); {
		case !slices.Contains(kinds, kind):
			odd.Why = fmt.Sprintf("a key of kind %q", kind)
			a.Foreign = append(a.Foreign, odd)
		case e.bad != "":
			odd.Why = e.bad
			a.Bad = append(a.Bad, odd)
		case s.v.orphan(e):
			odd.Why = "its session is dead"
			a.Orphans = append(a.Orphans, odd)
		}
	}
	for _, list := range [][]Oddity{a.Bad, a.Foreign, a.Orphans} {
		slices.SortFunc(list, func(x, y Oddity) int { return cmp.Compare(x.Key, y.Key) })
	}
	return a
}

// Sweep removes records that an audit found, each guarded by the revision that was seen: what somebody has claimed meanwhile stays. It returns how many it
// removed. It stops at the first error that is no such guard.
func Sweep(ctx context.Context, store kvstore.Store, list []Oddity) (removed int, err error) {
	value := encode(tombstone{Reason: ReasonRemoved, V: recordVersion})
	for _, o := range list {
		_, err := store.Delete(ctx, o.Key, value, o.Revision)
		if errors.Is(err, kvstore.ErrConflict) {
			continue
		}
		if err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
