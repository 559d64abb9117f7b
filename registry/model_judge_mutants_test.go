package registry

import (
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// TestModelJudge explores the claim rules as they are.
func TestModelJudge(t *testing.T) {
	most, least := 8, 600_000
	switch {
	case exploreLong:
		most, least = judgeMost, 9_000_000
	case exploreSlow || testing.Short():
		most, least = 6, 30_000
	}
	exploreRules(t, codeRules(most), judgeState{}, 1<<30, least)
}

// judgeMutants take one rule out each. The exploration has to notice every one of them, or it could not notice that the code had lost it.
var judgeMutants = map[string]func(r *judgeRules){
	"a claim is written without a condition":   func(r *judgeRules) { r.unguarded(nameClaimed) },
	"a release is written without a condition": func(r *judgeRules) { r.unguarded(nameReleased) },
	"a sweep is written without a condition":   func(r *judgeRules) { r.unguarded(nameSwept) },
	"a create walks over a tombstone": func(r *judgeRules) {
		guarded := r.accepts
		r.accepts = func(w judgeWrite, newest uint8, tombstone bool) bool {
			return guarded(w, newest, tombstone) || w.expect == 0 && tombstone
		}
	},
	"the condition is read beside the view that decides": func(r *judgeRules) {
		r.expect = func(_, newest kvstore.Revision) kvstore.Revision { return newest }
	},
	"the judge ignores the lease": func(r *judgeRules) {
		r.visible = func(_ records, e *entry) bool { return e != nil && !e.ended && e.value != nil }
		r.claim = func(rs records, key string) claim {
			if e := rs[key]; r.visible(rs, e) {
				return claim{held: e, expect: e.revision}
			}
			return records.claim(rs, key)
		}
	},
	"a claim ignores who holds the name": func(r *judgeRules) {
		r.claim = func(rs records, key string) claim { return claim{expect: records.claim(rs, key).expect} }
	},
	"a claim takes only what nobody ever had for held": func(r *judgeRules) {
		r.claim = func(rs records, key string) claim {
			c := records.claim(rs, key)
			c.held = rs[key]
			return c
		}
	},
	"a record is an orphan while its session lives": func(r *judgeRules) {
		r.orphan = func(_ records, e *entry) bool { return !e.ended }
	},
	"a record is an orphan only while the lease's tombstone is there": func(r *judgeRules) {
		r.orphan = func(rs records, e *entry) bool { return rs.orphan(e, nil) && rs[leaseKey(e.session)] != nil }
	},
	"the token is the predecessor's": func(r *judgeRules) {
		r.token = func(_ *entry, rs records) uint8 {
			if e := rs[nameKey(judgeName)]; e != nil && !e.ended {
				return uint8(e.value.(*Record).Token)
			}
			return 0
		}
	},
	"an update is a new claim": func(r *judgeRules) { r.token = func(*entry, records) uint8 { return 0 } },
	"lease ids are used again": func(r *judgeRules) { r.reuse = true },
}

func (r *judgeRules) unguarded(kind judgeKind) {
	guarded := r.accepts
	r.accepts = func(w judgeWrite, newest uint8, tombstone bool) bool {
		return w.kind == kind || guarded(w, newest, tombstone)
	}
}

func TestModelJudgeMutants(t *testing.T) {
	for what, mutate := range judgeMutants {
		t.Run(what, func(t *testing.T) {
			r := codeRules(6)
			mutate(r)
			exploreMutant(t, r, judgeState{}, 1<<30)
		})
	}
}
