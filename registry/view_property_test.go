package registry

import (
	"fmt"
	"slices"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// histories runs body on many random histories, each of its own seed. A failure names the seed.
func histories(t *testing.T, n int, body func(t *testing.T, h *history)) {
	t.Helper()
	if exploreSlow || testing.Short() {
		n /= 6
	}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { body(t, newHistory(uint64(seed))) })
	}
}

// The incremental view shows after every step what the judge says of the records, computed from nothing; and a view from a snapshot, taken
// at any point, shows the same and goes on showing the same.
func TestViewIsPure(t *testing.T) {
	histories(t, 60, func(t *testing.T, h *history) {
		followed := newView()
		followed.apply(h.snapshot())
		var late []*view
		for i := range 150 {
			step := h.step()
			for _, v := range append(late, followed) {
				v.apply(step)
			}
			checkView(t, followed)
			truth := records{}
			for key, e := range h.newest {
				truth[key] = decode(e)
			}
			sameMeaning(t, "a view and the log", followed.meaning(), meaningOf(truth))
			if h.IntN(3) == 0 {
				h.vanish()
			}
			if i%25 == 0 {
				v := newView()
				v.apply(h.snapshot())
				late = append(late, v)
			}
			for _, v := range late {
				sameMeaning(t, "a view from a snapshot and one that followed", v.meaning(), followed.meaning())
				if v.revision != followed.revision {
					t.Fatalf("revision %d and %d", v.revision, followed.revision)
				}
			}
		}
		for _, v := range late {
			checkView(t, v)
		}
	})
}

// Whatever comes twice, late or over what is known already changes nothing: old appends, old snapshots, snapshots in the middle.
func TestViewTakesOverlap(t *testing.T) {
	histories(t, 60, func(t *testing.T, h *history) {
		clean, noisy := newView(), newView()
		first := h.snapshot()
		clean.apply(first)
		noisy.apply(first)
		past := []kvstore.Step{first}
		for range 150 {
			step := h.step()
			clean.apply(step)
			noisy.apply(step)
			past = append(past, step)
			switch h.IntN(8) {
			case 0:
				snapshot := h.snapshot()
				noisy.apply(snapshot)
				past = append(past, snapshot)
			case 1: // a record that vanishes without an entry; everybody needs the snapshot to see it
				h.purge()
				snapshot := h.snapshot()
				clean.apply(snapshot)
				noisy.apply(snapshot)
				past = append(past, snapshot)
			case 2:
				h.vanish()
			}
			for range h.IntN(4) {
				noisy.apply(past[len(past)-1-min(h.IntN(len(past)), h.IntN(20))])
			}
			checkView(t, noisy)
			sameMeaning(t, "a view that got things twice and one that did not", noisy.meaning(), clean.meaning())
			if noisy.revision != clean.revision {
				t.Fatalf("revision %d and %d", noisy.revision, clean.revision)
			}
		}
	})
}

// A log that was made anew takes the place of the old one whole, whatever of the old one stands in it.
func TestViewOfNewLog(t *testing.T) {
	histories(t, 60, func(t *testing.T, h *history) {
		v := newView()
		v.apply(h.snapshot())
		for range 10 {
			for range h.IntN(30) {
				v.apply(h.step())
			}
			h.anew()
			if h.IntN(2) == 0 {
				h.last = kvstore.Revision(len(h.newest)) + h.last/2 // a lower one: nothing of the old log may stand in its way
				for key, e := range h.newest {
					e.Revision = h.last
					h.newest[key] = e
				}
			}
			snapshot := h.snapshot()
			if _, newLog := v.apply(snapshot); !newLog {
				t.Fatal("a new log was taken for the old one")
			}
			checkView(t, v)
			fresh := newView()
			fresh.apply(snapshot)
			sameMeaning(t, "a view from a new log and one that knew the old", v.meaning(), fresh.meaning())
			if v.revision != fresh.revision {
				t.Fatalf("revision %d and %d", v.revision, fresh.revision)
			}
		}
	})
}

// Every order of a few entries, and every place of a snapshot among them, gives one meaning.
func TestViewEveryInterleaving(t *testing.T) {
	cases := map[string][]kvstore.Entry{
		"claim over the dead": {putLease("A"), putName("n", "A"), del(leaseKey("A"), ReasonSilent), putLease("B"), putName("n", "B")},
		"late write":          {putLease("A"), del(leaseKey("A"), ReasonClosed), putName("n", "A"), putLease("B"), putName("m", "B"), del(nameKey("n"), ReasonRemoved)},
		"members":             {putLease("A"), putMember("g", "I", "A"), putMember("h", "I", "A"), del(groupKey("g", "I"), ReasonLeft), del(leaseKey("A"), ReasonClosed)},
		"two names, one instance": {putLease("A"), putName("n", "A"), putName("m", "A"), del(nameKey("n"), ReasonUnregistered), putName("n", "A"),
			del(nameKey("m"), ReasonUnregistered)},
		"garbage": {putLease("A"), putName("n", "A"), put(nameKey("n"), []byte("{")), putName("n", "A"), put(leaseKey("A"), []byte("?"))},
	}
	for what, entries := range cases {
		t.Run(what, func(t *testing.T) {
			l := newLogbook("log")
			steps := []kvstore.Step{l.snapshot()}
			snapshots := slices.Clone(steps)
			truth := records{}
			for _, e := range entries {
				steps = append(steps, l.append(e))
				snapshots = append(snapshots, l.snapshot())
			}
			for key, e := range l.newest {
				truth[key] = decode(e)
			}
			want := meaningOf(truth)
			n := 0
			permute(steps[1:], func(order []kvstore.Step) {
				v := newView()
				v.apply(snapshots[0])
				for _, step := range order {
					v.apply(step)
					checkView(t, v)
				}
				sameMeaning(t, "two orders", v.meaning(), want)
				n++
			})
			for taken := range snapshots { // a snapshot as of there ...
				for at := range steps { // ... comes in front of this append ...
					for again := range steps { // ... and the feed goes on from that one, late or not
						if at < again {
							continue
						}
						v := newView()
						for i := 1; i < at; i++ {
							v.apply(steps[i])
						}
						v.apply(snapshots[taken])
						for i := max(1, min(again, taken+1)); i < len(steps); i++ {
							v.apply(steps[i])
							checkView(t, v)
						}
						sameMeaning(t, fmt.Sprintf("a snapshot of %d before %d, then from %d on", taken, at, again), v.meaning(), want)
						n++
					}
				}
			}
			t.Logf("%d interleavings", n)
		})
	}
}

// permute calls fn with every order of steps.
func permute(steps []kvstore.Step, fn func([]kvstore.Step)) {
	var rec func(int)
	order := slices.Clone(steps)
	rec = func(i int) {
		if i == len(order) {
			fn(order)
			return
		}
		for j := i; j < len(order); j++ {
			order[i], order[j] = order[j], order[i]
			rec(i + 1)
			order[i], order[j] = order[j], order[i]
		}
	}
	rec(0)
}
