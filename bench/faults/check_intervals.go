//go:build linux

package faults

import (
	"cmp"
	"slices"
	"time"
)

// serving is the time in which an owner was told that he may serve.
type serving struct {
	Record
	from, to int64
}

// overlapRoom is for how long a name may have two owners who both serve, where no fault was near: the old one has then been replaced on purpose and his view is late.
const overlapRoom = time.Second

// checkIntervals: of a strict name no two owners ever served at once. Of another name they may, across a partition or a lost connection, or while the news of a take-over
// travels, and no longer than a TTL. It returns how often that was.
func checkIntervals(h *History) (found []string, overlaps int) {
	byName := map[string][]serving{}
	for _, r := range h.Records {
		if r.What != WHold {
			continue
		}
		m := h.Marks[r.Process]
		if r.Slot >= len(m) || m[r.Slot][0] == 0 || m[r.Slot][1] < m[r.Slot][0] {
			continue
		}
		byName[r.Name] = append(byName[r.Name], serving{r, m[r.Slot][0], m[r.Slot][1]})
	}
	takes := map[uint64]bool{}
	for _, r := range h.Records {
		if r.What == WCall && r.Do == DoReplace {
			takes[r.Token] = true
		}
	}
	for _, name := range sortedKeys(byName) {
		list := byName[name]
		slices.SortFunc(list, func(a, b serving) int { return cmp.Compare(a.Token, b.Token) })
		for i, a := range list {
			for _, b := range list[i+1:] {
				if a.to <= b.from || a.Token == b.Token {
					continue
				}
				both := time.Duration(a.to - b.from)
				text := sprintf("%s: %s (%d) still served %v after %s (%d) had begun", name, a.Sess, a.Token, both, b.Sess, b.Token)
				near := faultNear(h, b.from-int64(h.TTL)-int64(2*time.Second), a.to)
				switch {
				case strict(name):
					found = append(found, text+", and both are strict")
				case both > h.TTL:
					found = append(found, text+", longer than a TTL")
				case !near && (!takes[b.Token] || both > overlapRoom):
					found = append(found, text+", and no fault was near")
				default:
					overlaps++
				}
			}
		}
	}
	return found, overlaps
}

// faultNear tells whether a fault was there at some time between.
func faultNear(h *History, from, to int64) bool {
	return slices.ContainsFunc(h.Spans, func(s Span) bool { return s.From <= to && s.To >= from })
}
