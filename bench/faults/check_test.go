//go:build linux

package faults

import (
	"strings"
	"testing"
	"time"
)

// forged is a record of a run that never was. Times are in milliseconds.
func forged(records ...Record) *History {
	h := &History{TTL: 4 * time.Second, Killed: map[string]int64{}, Paused: map[string][]Pause{}, Marks: map[string][][2]int64{}}
	for _, r := range records {
		r.At *= int64(time.Millisecond)
		if r.Ret != Never {
			r.Ret *= int64(time.Millisecond)
		}
		if r.Process == "" {
			r.Process = "c1.1"
		}
		h.Records = append(h.Records, r)
	}
	return h
}

// call is a call that worked, from one time to another.
func call(do, name, session string, from, to int64, token uint64) Record {
	return Record{What: WCall, Do: do, Name: name, Sess: session, At: from, Ret: to, OK: true, Token: token}
}

// fresh is a read that showed a token and its session; 0 is nobody.
func fresh(name, session string, from, to int64, token uint64) Record {
	r := call(DoFresh, name, "", from, to, token)
	if token != 0 {
		r.Owners = []string{session}
	}
	return r
}

// event is what a watch told.
func event(process, do, name, session string, at int64, rev, token uint64) Record {
	return Record{What: WEvent, Process: process, Do: do, Name: name, Sess: session, At: at, Rev: rev, Token: token}
}

// holds is a time of serving, with its marks.
func holds(h *History, name, session string, token uint64, from, to int64) {
	m := h.Marks["c1.1"]
	if m == nil {
		m = make([][2]int64, 1)
	}
	h.Marks["c1.1"] = append(m, [2]int64{from * int64(time.Millisecond), to * int64(time.Millisecond)})
	h.Records = append(h.Records, Record{What: WHold, Process: "c1.1", Name: name, Sess: session, Token: token, Slot: len(m), At: from * int64(time.Millisecond)})
}

// Each checker passes what is right and finds what is wrong.
func TestCheckers(t *testing.T) {
	watch := func(p string) []Record {
		return []Record{{What: WWatch, Process: p}, event(p, "synced", "", "", 1, 5, 0)}
	}
	for _, c := range []struct {
		name  string
		check func(*History) []string
		h     *History
		want  string // part of what is found; "" is nothing
	}{
		{"claimed, read, given up, claimed by another", checkNames, forged(
			call(DoRegister, "n1", "A", 10, 20, 100), fresh("n1", "A", 30, 40, 100), call(DoUnregister, "n1", "A", 50, 60, 100), fresh("n1", "", 61, 62, 0),
			call(DoRegister, "n1", "B", 70, 80, 110), fresh("n1", "B", 90, 95, 110)), ""},
		{"two owners", checkNames, forged(call(DoRegister, "n1", "A", 10, 20, 100), call(DoRegister, "n1", "B", 30, 40, 110)), "not linearizable"},
		{"two owners at once, one of whom took it", checkNames, forged(call(DoRegister, "n1", "A", 10, 20, 100), call(DoReplace, "n1", "B", 30, 40, 110)), ""},
		{"a strict name that was taken from the living", checkNames, forged(call(DoRegister, "s1", "A", 10, 20, 100), call(DoReplace, "s1", "B", 30, 40, 110)), "not linearizable"},
		{"a token that fell", checkNames, forged(call(DoRegister, "n1", "A", 10, 20, 100), call(DoUnregister, "n1", "A", 21, 22, 100), call(DoRegister, "n1", "B", 30, 40, 90)), "not linearizable"},
		{"a fresh read that is stale", checkNames, forged(call(DoRegister, "n1", "A", 10, 20, 100), call(DoUnregister, "n1", "A", 21, 22, 100), fresh("n1", "A", 30, 40, 100)), "not linearizable"},
		{"a claim that is lost", checkNames, forged(call(DoRegister, "n1", "A", 10, 20, 100), fresh("n1", "", 30, 40, 0)), "not linearizable"},
		{"the owner's end was told", checkNames, forged(call(DoRegister, "n1", "A", 10, 20, 100), Record{What: WEnd, Sess: "A", At: 25}, fresh("n1", "", 30, 40, 0)), ""},
		{"a token that nobody claimed", checkNames, forged(fresh("n1", "A", 30, 40, 100)), "nobody claimed"},
		{"an unknown claim that came", checkNames, forged(
			Record{What: WCall, Do: DoRegister, Name: "n1", Sess: "A", At: 10, Ret: 20, Maybe: true}, fresh("n1", "A", 30, 40, 100)), ""},
		{"a transfer", checkNames, forged(call(DoRegister, "n1", "A", 10, 20, 100),
			Record{What: WCall, Do: DoTransfer, Name: "n1", Sess: "A", To: "B", Token: 100, At: 30, Ret: 40, OK: true}, fresh("n1", "B", 41, 42, 120)), ""},

		{"members", checkSets, forged(call(DoJoin, "g1", "A", 10, 20, 0), Record{What: WCall, Do: DoMembers, Name: "g1", At: 30, Ret: 40, OK: true, Owners: []string{"A"}}), ""},
		{"a member who is not there", checkSets, forged(call(DoJoin, "g1", "A", 10, 20, 0), call(DoMembers, "g1", "", 30, 40, 0)), "not linearizable"},
		{"a member who has left", checkSets, forged(call(DoJoin, "g1", "A", 10, 20, 0), call(DoLeave, "g1", "A", 21, 22, 0),
			Record{What: WCall, Do: DoMembers, Name: "g1", At: 30, Ret: 40, OK: true, Owners: []string{"A"}}), "not linearizable"},
		{"a shared name without a replica", checkSets, forged(call(DoShare, "r1", "A", 10, 20, 0), call(DoUnshare, "r1", "A", 21, 22, 0), fresh("r1", "A", 30, 40, 7)), "not linearizable"},

		{"growing tokens", checkTokens, forged(event("n1.1", "registered", "n1", "A", 1, 5, 5), event("n1.1", "registered", "n1", "B", 2, 7, 7)), ""},
		{"tokens that fall", checkTokens, forged(event("n1.1", "registered", "n1", "A", 1, 7, 7), event("n1.1", "registered", "n1", "B", 2, 8, 5)), "after 7"},

		{"two watches that agree", checkWatches, forged(append(append(watch("n1.1"), watch("n2.1")...),
			event("n1.1", "registered", "n1", "A", 2, 7, 7), event("n2.1", "registered", "n1", "A", 2, 7, 7), event("n1.1", "joined", "g1", "A", 3, 9, 9), event("n2.1", "joined", "g1", "A", 3, 9, 9))...), ""},
		{"a watch that lacks an event", checkWatches, forged(append(append(watch("n1.1"), watch("n2.1")...),
			event("n1.1", "registered", "n1", "A", 2, 7, 7), event("n1.1", "joined", "g1", "A", 3, 9, 9), event("n2.1", "joined", "g1", "A", 3, 9, 9))...), "was not told"},
		{"an owner without the end of the one before", checkWatches, forged(append(watch("n1.1"),
			event("n1.1", "registered", "n1", "A", 2, 7, 7), event("n1.1", "registered", "n1", "B", 3, 8, 8))...), "had ended"},
		{"a watch that goes back", checkWatches, forged(append(watch("n1.1"), event("n1.1", "joined", "g1", "A", 2, 8, 8), event("n1.1", "joined", "g1", "B", 3, 7, 7))...), "after 8"},

		{"a read that is as old as it says", checkCached, forged(call(DoOpen, "", "", 1, 2, 0), call(DoRegister, "n1", "A", 2010, 2020, 100),
			Record{What: WCall, Do: DoCached, Name: "n1", At: 2500, Ret: 2501, OK: true, Known: true, Rev: 90, Age: int64(600 * time.Millisecond)}), ""},
		{"a read that is older", checkCached, forged(call(DoOpen, "", "", 1, 2, 0), call(DoRegister, "n1", "A", 2010, 2020, 100),
			Record{What: WCall, Do: DoCached, Name: "n1", At: 2500, Ret: 2501, OK: true, Known: true, Rev: 90, Age: int64(100 * time.Millisecond)}), "said that it is at most"},

		{"in time", checkDeadlines, forged(Record{What: WCall, Do: DoRegister, At: 10, Ret: 3100, Limit: int64(3 * time.Second)}), ""},
		{"late", checkDeadlines, forged(Record{What: WCall, Do: DoRegister, At: 10, Ret: 9000, Limit: int64(3 * time.Second)}), "after its deadline"},
		{"never", checkDeadlines, forged(Record{What: WCall, Do: DoRegister, At: 10, Ret: Never, Limit: int64(3 * time.Second)}), "never returned"},
	} {
		found := strings.Join(c.check(c.h), "\n")
		if c.want == "" && found != "" || !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q; want %q", c.name, found, c.want)
		}
	}
}

// Strict owners never serve at once; others only near a fault, and not for long.
func TestCheckIntervals(t *testing.T) {
	for _, c := range []struct {
		name         string
		what         string
		a, b         [2]int64
		fault        bool
		want         string
		wantOverlaps int
	}{
		{"one after the other", "s1", [2]int64{100, 200}, [2]int64{201, 300}, true, "", 0},
		{"two strict ones", "s1", [2]int64{100, 210}, [2]int64{201, 300}, true, "both are strict", 0},
		{"two others across a partition", "n1", [2]int64{100, 900}, [2]int64{201, 1000}, true, "", 1},
		{"two others for too long", "n1", [2]int64{100, 9000}, [2]int64{201, 9900}, true, "longer than a TTL", 0},
		{"two others for no reason", "n1", [2]int64{100, 900}, [2]int64{201, 1000}, false, "no fault was near", 0},
	} {
		h := forged()
		holds(h, c.what, "A", 10, c.a[0], c.a[1])
		holds(h, c.what, "B", 20, c.b[0], c.b[1])
		if c.fault {
			h.Spans = []Span{{Kind: Side, From: 0, To: int64(20 * time.Second)}}
		}
		found, overlaps := checkIntervals(h)
		text := strings.Join(found, "\n")
		if c.want == "" && text != "" || !strings.Contains(text, c.want) || overlaps != c.wantOverlaps {
			t.Errorf("%s: found %q and %d overlaps; want %q and %d", c.name, text, overlaps, c.want, c.wantOverlaps)
		}
	}
}

// What a killed process held is gone after the bound, which grows by the time of the faults.
func TestCheckDead(t *testing.T) {
	for _, c := range []struct {
		at    int64
		fault bool
		want  string
	}{{3_000, false, ""}, {60_000, false, "had been dead"}, {15_000, true, ""}} {
		read := fresh("n1", "A", c.at, c.at+1, 10)
		read.Process = "c2.1"
		h := forged(call(DoRegister, "n1", "A", 1, 2, 10), read)
		h.Killed["c1.1"] = int64(5 * time.Millisecond)
		if c.fault {
			h.Spans = []Span{{From: 0, To: int64(20 * time.Second)}}
		}
		if found := strings.Join(checkDead(h), "\n"); c.want == "" && found != "" || !strings.Contains(found, c.want) {
			t.Errorf("read %d ms after: found %q; want %q", c.at, found, c.want)
		}
	}
}

// At the end all see the same: what living sessions hold, and nothing else.
func TestAgree(t *testing.T) {
	good := func() map[string]State {
		seen := map[string]Seen{"n1": {7, "A"}}
		return map[string]State{
			"n1": {Names: seen, Folded: seen, Groups: map[string]string{"g1 A": "A"}, Leases: []string{"A"}},
			"c1": {Names: seen, Folded: seen, Groups: map[string]string{"g1 A": "A"}, Leases: []string{"A"}, Sessions: []string{"A"}, Holds: map[string]Seen{"n1 A": {7, "A"}}},
		}
	}
	for _, c := range []struct {
		name string
		do   func(n, c *State)
		want string
	}{
		{"all is well", func(_, _ *State) {}, ""},
		{"an orphan", func(n, _ *State) { n.Names = map[string]Seen{"n1": {7, "A"}, "n2": {8, "B"}} }, "does not live"},
		{"an owner who knows nothing of it", func(_, c *State) { c.Holds = nil }, "knows nothing"},
		{"an owner who was told nothing", func(n, _ *State) { n.Names, n.Folded = nil, nil }, "told nothing"},
		{"a watch that differs", func(n, _ *State) { n.Folded = nil }, "its watch told"},
		{"a group with the dead", func(n, _ *State) { n.Groups = map[string]string{"g1 B": "B"} }, "does not live"},
		{"views that differ", func(n, _ *State) { n.Groups = nil }, "see different things"},
		{"a lease of the dead", func(n, _ *State) { n.Leases = []string{"A", "B"} }, "whose process is gone"},
	} {
		s := good()
		n, cl := s["n1"], s["c1"]
		c.do(&n, &cl)
		s["n1"], s["c1"] = n, cl
		if found := strings.Join(agree(s), "\n"); c.want == "" && found != "" || !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q; want %q", c.name, found, c.want)
		}
	}
}
