package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Claimed is a member that one session has for itself for a while, as the view shows it.
type Claimed struct {
	Group    string           `json:"group"`
	Instance string           `json:"instance"`
	Owner    string           `json:"owner"` // the member's session
	Node     string           `json:"node"`  // the claimant's
	Session  string           `json:"session"`
	Since    time.Time        `json:"since"` // the claimant's clock
	TTL      time.Duration    `json:"ttl"`   // how long the claim may last
	Revision kvstore.Revision `json:"revision"`
}

type claimRecord struct {
	Claimed
	Writer string `json:"writer"`
	V      int    `json:"v"`
}

func (e *entry) decodeClaim(rest string, value []byte) error {
	var rec claimRecord
	if err := json.Unmarshal(value, &rec); err != nil {
		return err
	}
	group, instance, ok := splitGroup(rest)
	if !ok || rec.Group != group || rec.Instance != instance || rec.Session == "" || rec.Owner == "" {
		return fmt.Errorf("it names the claim of %q on %q of %q", rec.Session, rec.Instance, rec.Group)
	}
	rec.Revision = e.revision
	e.session, e.writer, e.value = rec.Session, rec.Writer, &rec.Claimed
	return nil
}

// Claims lists the members of a group that are claimed, those first that have been for longest; ErrBadName if it is not a name.
func (r *Registry) Claims(group string) ([]Claimed, error) { return r.view.listClaims(group) }

// Claims is as Registry.Claims, in the snapshot.
func (s *Snapshot) Claims(group string) ([]Claimed, error) { return s.v.listClaims(group) }

func (v *view) listClaims(group string) ([]Claimed, error) {
	group, err := ParseName(group)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]Claimed, 0, len(v.claims[group]))
	for _, c := range v.claims[group] {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Claimed) int { return cmp.Compare(a.Revision, b.Revision) })
	return out, nil
}

// claimsOf counts the claims in force on an instance.
func (v *view) claimsOf(instance string) int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.uses[instance])
}

func (v *view) judgeClaim(group, instance, key string, reason Reason) {
	var now *Claimed
	if e := v.records[key]; v.records.visible(e) {
		now = e.value.(*Claimed)
	}
	was := v.claims[group][instance]
	if was == now {
		return
	}
	unlink(v.claims, group, instance)
	unlink(v.uses, instance, group)
	if now != nil {
		link(v.claims, group, instance, now)
		link(v.uses, instance, group, now)
	}
	if was != nil {
		if reason == "" {
			reason = ReasonReplaced
		}
		v.fire(key, reason)
	}
	v.turns.wake(group)
}

// free lists the members of a group that nobody has claimed, and gives a channel that is closed when that may have changed.
func (v *view) free(group string) (free []Member, all int, turn <-chan struct{}) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	free, all = v.unclaimed(group)
	return free, all, v.turns.next(group)
}

// turns wakes those who wait for a change of a group. Its zero value is ready.
type turns struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
}

// next is a channel that is closed at the next change of the group.
func (t *turns) next(group string) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.waiting[group]
	if c == nil {
		if t.waiting == nil {
			t.waiting = map[string]chan struct{}{}
		}
		c = make(chan struct{})
		t.waiting[group] = c
	}
	return c
}

// wake tells those who wait for the group.
func (t *turns) wake(group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.waiting[group]; c != nil {
		close(c)
		delete(t.waiting, group)
	}
}
