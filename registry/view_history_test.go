package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/toolbus/toolbus/kvstore"
)

// history makes a long random log: leases, names, groups, refreshes, ends of every kind, and all that may stand in a bucket beside what we
// write: garbage, records under a wrong key, records of sessions that are dead or never lived, foreign keys, records of the future.
type history struct {
	*rand.Rand
	*logbook
	opened int
	living []string // sessions, by the log
	dead   []string
}

func newHistory(seed uint64) *history {
	return &history{Rand: rand.New(rand.NewPCG(seed, 1)), logbook: newLogbook("log")}
}

func pick[T any](h *history, from []T, other T) T {
	if len(from) == 0 {
		return other
	}
	return from[h.IntN(len(from))]
}

// anybody is a session: mostly a living one.
func (h *history) anybody() string {
	if h.IntN(5) == 0 {
		return pick(h, h.dead, "nobody")
	}
	return pick(h, h.living, "nobody")
}

func (h *history) name() string { return []string{"a", "b", "a.b", "c", "d", "e.f.g"}[h.IntN(6)] }

// digest is that of a shared name, or none.
func (h *history) digest() string { return []string{"", "", "d", "d", "e"}[h.IntN(5)] }

// place is one that is carried on, perhaps that of another, or none.
func (h *history) place() kvstore.Revision {
	if h.IntN(3) > 0 {
		return 0
	}
	return h.last / 16 * 8 // often the same
}

// instance is one of a few, so that names and members share them, or the session itself.
func (h *history) instance(session string) string {
	if h.IntN(2) == 0 {
		return session
	}
	return fmt.Sprintf("I%d", h.IntN(4))
}

// entry makes one more, for a key that is not in taken.
func (h *history) entry(taken map[string]bool) kvstore.Entry {
	for {
		if e := h.any(); !taken[e.Key] {
			taken[e.Key] = true
			return e
		}
	}
}

func (h *history) any() kvstore.Entry {
	session := h.anybody()
	switch h.IntN(26) {
	case 0, 1:
		h.opened++
		return putLease(fmt.Sprintf("S%d", h.opened))
	case 2: // a refresh, or a lease that comes again
		return put(leaseKey(session), encode(leaseRecord{Lease: Lease{Session: session, Attempt: h.Uint64N(9)}, V: recordVersion}))
	case 3, 4:
		e := del(leaseKey(session), []Reason{ReasonClosed, ReasonSilent, ReasonDisconnected}[h.IntN(3)])
		if h.IntN(4) == 0 {
			e = kvstore.Entry{Key: e.Key, Operation: kvstore.Expire}
		}
		return e
	case 5, 6, 7: // a claim or an update, which carries a token
		name, token := h.name(), kvstore.Revision(0)
		if h.IntN(3) == 0 && h.last > 0 {
			token = kvstore.Revision(h.Uint64N(uint64(h.last)))
		}
		rec := Record{Name: name, Session: session, Instance: h.instance(session), Token: token, Digest: h.digest()}
		return put(nameKey(name), encode(nameRecord{Record: rec, V: recordVersion}))
	case 8:
		return del(nameKey(h.name()), ReasonUnregistered)
	case 9, 10:
		return putMember(h.name(), h.instance(session), session)
	case 11:
		return del(groupKey(h.name(), h.instance(session)), ReasonLeft)
	case 12:
		instance := h.instance(session)
		key := []string{nameKey(h.name()), leaseKey(session), groupKey(h.name(), instance), standbyKey(h.name(), instance), replicaKey(h.name(), instance), keyPulse}[h.IntN(6)]
		return put(key, []byte([]string{"", "null", "{}", "[1]", `{"name":1}`, `{"session":"` + session + `"}`, "\xff"}[h.IntN(7)]))
	case 13:
		name := h.name()
		return put(nameKey(name), fmt.Appendf(nil, `{"v":7,"name":%q,"session":%q,"instance":"I1","later":{"x":[1,2]}}`, name, session))
	case 14:
		return put([]string{"standby.a.I1", "replicas.a.I2", "properties." + session + ".k", "barrier.p", "x"}[h.IntN(5)], []byte(`{"session":"`+session+`"}`))
	case 15, 16:
		return putWaiting(h.name(), h.instance(session), session, h.place())
	case 17:
		return del(standbyKey(h.name(), h.instance(session)), ReasonLeft)
	case 18, 19, 20:
		return putReplica(h.name(), h.instance(session), session, h.digest(), h.place())
	case 21:
		return del(replicaKey(h.name(), h.instance(session)), ReasonUnregistered)
	}
	if h.IntN(4) == 0 {
		return del(propertyKey(session, "k"), ReasonUnregistered)
	}
	if h.IntN(3) > 0 {
		return putProperty(session, []string{"k", "l"}[h.IntN(2)], fmt.Sprint(h.IntN(9)))
	}
	return put(keyPulse, encode(&pulse{Keeper: "P", Leases: len(h.living)}))
}

// step writes one entry, or a batch.
func (h *history) step() kvstore.Step {
	n, taken := 1, map[string]bool{}
	if h.IntN(4) == 0 {
		n = 1 + h.IntN(4)
	}
	entries := make([]kvstore.Entry, n)
	for i := range entries {
		entries[i] = h.entry(taken)
	}
	step := h.append(entries...)
	h.living, h.dead = nil, nil
	for i := range h.opened {
		session := fmt.Sprintf("S%d", i+1)
		if e, ok := h.newest[leaseKey(session)]; ok && decode(e).value != nil {
			h.living = append(h.living, session)
		} else {
			h.dead = append(h.dead, session)
		}
	}
	return step
}

// vanish forgets one tombstone without an entry, as the bucket does when it is old.
func (h *history) vanish() {
	for _, key := range slices.Sorted(maps.Keys(h.newest)) {
		if h.newest[key].Tombstone() && h.IntN(2) == 0 {
			delete(h.newest, key)
			return
		}
	}
}

// purge forgets any record without an entry, as a purge by hand does. Only a snapshot shows it.
func (h *history) purge() {
	if keys := slices.Sorted(maps.Keys(h.newest)); len(keys) > 0 {
		delete(h.newest, pick(h, keys, ""))
	}
}

// anew is the log after the bucket was deleted and made anew, perhaps with records of the old one restored.
func (h *history) anew() {
	old := h.newest
	h.logbook = &logbook{name: h.logbook.name + "'", last: h.last, newest: map[string]kvstore.Entry{}}
	for _, key := range slices.Sorted(maps.Keys(old)) {
		if e := old[key]; h.IntN(3) == 0 {
			h.last++
			e.Revision = h.last
			h.newest[key] = e
		}
	}
}
