package registrytest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// The traps that registries before this one fell into, each as a test of its own. Those that need a world that a Bed cannot make are held elsewhere:
//
//	a capability that any map satisfies         TestGroupsFollowTheCapabilities (servers)
//	unbounded interning of names                "what is no name is refused, and nothing is written" (names), TestOrderedShrinks
//	a snapshot older than an event              also TestViewTakesOverlap, TestViewEveryInterleaving
//	the janitor is dead while an owner dies     TestVirtualDeadWithTheKeeper, TestKillKeeper
//	clock skew as tie-breaker                   TestVirtualClocks, TestVirtualKeeperClock
//	orphans that beat for a dead backend        TestKilledChildIsUnregisteredAtOnce (servers/bridge)
//	a check stricter than the slowest           TestVirtualLostAnswers, TestVirtualFourRollCalls
//	a name that its owner lost for ever         TestVirtualLoneRestart
var traps = chapter{"traps", []test{
	{"metadata that only the registrant sees", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		register(t, s, "calc", &registry.RegisterOptions{Metadata: map[string]string{"version": "2"}, Labels: map[string]string{"lang": "go"}})
		_, err := s.Join(within(t), "tools", &registry.JoinOptions{Metadata: map[string]string{"zone": "b"}})
		ok(t, err)
		together(t, rs...)
		rec := wantHeld(t, rs[1], "calc", s)
		members, err := rs[1].Members("tools")
		ok(t, err)
		if rec.Metadata["version"] != "2" || rec.Labels["lang"] != "go" || len(members) != 1 || members[0].Metadata["zone"] != "b" {
			t.Fatalf("%+v, %+v", rec, members)
		}
	}},
	{"a name that is there before its metadata and its groups", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		events := listen(t, rs[1], nil)
		events.until(t, registry.Synced)
		register(t, session(t, rs[0]), "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}, Metadata: map[string]string{"version": "2"}})
		got := events.take(t, 2)
		if got[0].Revision != got[1].Revision {
			t.Fatalf("two steps: %+v", got)
		}
		for _, ev := range got {
			if ev.Kind == registry.Registered && ev.Record.Metadata["version"] != "2" {
				t.Fatalf("%+v", ev)
			}
		}
	}},
	{"a membership that unregister leaves behind", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools", "prompts"}})
		join(t, s, "later", "i")
		ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Metadata = nil; rec.Kind = "other" }))
		ok(t, reg.Unregister(within(t)))
		together(t, rs...)
		for _, r := range rs {
			if got := r.Groups(); len(got) != 0 {
				t.Fatalf("groups %q", got)
			}
		}
	}},
	{"an update that deletes and creates", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		reg := register(t, session(t, rs[0]), "calc", nil)
		together(t, rs...)
		events := listen(t, rs[1], nil)
		events.until(t, registry.Synced)
		const many = 20
		for range many {
			ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Kind += "x" }))
		}
		for _, ev := range events.take(t, many) {
			if ev.Kind != registry.Updated || ev.Record.Token != reg.Token() {
				t.Fatalf("%+v", ev)
			}
		}
	}},
	{"death between the name and its groups", func(t *testing.T, b *Bed) {
		r := b.one(t)
		lost, way := b.faulty(t)
		s := session(t, lost)
		var mu sync.Mutex
		apart := false
		ctx, cancel := context.WithCancel(within(t))
		way.OnWrite(func(ops []kvstore.Op) Fate {
			mu.Lock()
			defer mu.Unlock()
			if touches(ops, "names.") != touches(ops, "groups.") {
				apart = true
			}
			if touches(ops, "names.") {
				cancel()
				return Fate{Late: 300 * time.Millisecond}
			}
			return Fate{}
		})
		_, err := s.Register(ctx, "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}})
		mu.Lock()
		together := !apart
		mu.Unlock()
		way.OnWrite(nil)
		if err == nil || !together {
			t.Fatalf("error %v, the name and its group in one write: %v", err, together)
		}
		ok(t, s.Close(within(t)))
		wantNobodyFor(t, r, time.Second)
	}},
	{"a delete that comes late, after the name was registered anew", func(t *testing.T, b *Bed) {
		r := b.one(t)
		lost, way := b.faulty(t)
		old := register(t, session(t, lost), "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}})
		together(t, r, lost)
		late := time.Now().Add(1500 * time.Millisecond)
		way.OnWrite(once(func() Fate { return Fate{Late: time.Until(late)} }, "names."))
		gone, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := old.Unregister(gone); err != nil && !errors.Is(err, registry.ErrUnknown) {
			t.Fatal(err)
		}
		next := session(t, r)
		eventually(t, "the name is free", func() bool {
			_, err := next.Register(within(t), "calc", &registry.RegisterOptions{Instance: "j", Groups: []string{"tools"}})
			return err == nil
		})
		time.Sleep(time.Until(late.Add(300 * time.Millisecond)))
		ok(t, r.Refresh(within(t)))
		wantHeld(t, r, "calc", next)
		wantMembers(t, r, "tools", "j")
	}},
	{"a claim that comes late, after its owner's end", func(t *testing.T, b *Bed) {
		r := b.one(t)
		lost, way := b.faulty(t)
		s := session(t, lost)
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		late := time.Now().Add(1500 * time.Millisecond)
		claim := once(func() Fate { cancel(); return Fate{Late: time.Until(late)} }, "names.")
		way.OnWrite(func(ops []kvstore.Op) Fate {
			fate := claim(ops)
			if fate.Late == 0 && touches(ops, "names.") { // the owner can neither settle it nor sweep it
				return Fate{Lost: true}
			}
			return fate
		})
		if _, err := s.Register(ctx, "calc", nil); err == nil {
			t.Fatal("it was got")
		}
		brief, done := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer done()
		_ = s.Close(brief) // its lease ends; what it may have written it cannot remove
		eventually(t, "the owner has ended", func() bool { _, alive := r.Lease(s.ID()); return !alive })
		if !time.Now().Before(late) {
			t.Fatal("the claim came before its owner's end: this shows nothing")
		}
		wantNobodyFor(t, r, time.Until(late.Add(300*time.Millisecond)))
		next := session(t, r)
		register(t, next, "calc", nil)
		ok(t, r.Refresh(within(t)))
		wantHeld(t, r, "calc", next)
	}},
	{"a snapshot that is older than what came first", func(t *testing.T, b *Bed) {
		r := b.one(t)
		slow, way := b.faulty(t)
		s := session(t, slow)
		f, events := fold(), listen(t, slow, nil)
		for i := range 10 {
			way.DelayFeed(time.Duration(i%3) * 10 * time.Millisecond)
			reg := register(t, s, "calc", &registry.RegisterOptions{Groups: []string{"tools"}})
			way.Gap()
			ok(t, reg.Unregister(within(t)))
			wantFree(t, slow, "calc")
		}
		last := register(t, s, "last", nil)
		way.DelayFeed(0)
		wantSame(t, r, slow)
		for f.names["last"].Token != last.Token() {
			f.add(t, events.take(t, 1)[0])
		}
		if !f.matches(t, slow) {
			t.Fatalf("told %+v, the view shows %+v", f, show(t, slow))
		}
	}},
	{"changes that a watcher misses while it is cut off", func(t *testing.T, b *Bed) {
		r := b.one(t)
		far, way := b.faulty(t)
		s, other := session(t, r), session(t, r)
		gone := register(t, s, "gone", &registry.RegisterOptions{Groups: []string{"tools"}})
		changed := register(t, s, "changed", nil)
		moved := register(t, s, "moved", nil)
		together(t, r, far)
		f, events := fold(), listen(t, far, nil)
		for _, ev := range events.until(t, registry.Synced) {
			f.add(t, ev)
		}
		way.Cut()
		ok(t, gone.Unregister(within(t)))
		ok(t, changed.Update(within(t), func(rec *registry.Record) { rec.Kind = "new" }))
		ok(t, moved.Unregister(within(t)))
		register(t, other, "moved", nil)
		last := register(t, s, "here", nil)
		way.Restore()
		together(t, r, far)
		for f.names["here"].Token != last.Token() || !f.matches(t, far) {
			f.add(t, events.take(t, 1)[0])
		}
		wantSame(t, r, far)
	}},
	{"two claims on one node at one instant, and both lose", func(t *testing.T, b *Bed) {
		r := b.one(t)
		sessions := [2]*registry.Session{session(t, r), session(t, r)}
		for range 20 {
			var regs [2]*registry.Registration
			var errs [2]error
			var wg sync.WaitGroup
			for i, s := range sessions {
				wg.Go(func() { regs[i], errs[i] = s.Register(within(t), "calc", nil) })
			}
			wg.Wait()
			w := slices.Index(errs[:], nil)
			if w < 0 || errs[1-w] == nil {
				t.Fatalf("%v, want one winner", errs)
			}
			wantTaken(t, errs[1-w], regs[w])
			wantHeld(t, r, "calc", sessions[w])
			if !regs[w].Serving() || sessions[1-w].Err() != nil {
				t.Fatal("the winner does not serve, or the loser was ended")
			}
			ok(t, regs[w].Unregister(within(t)))
		}
	}},
	{"an owner that is back under the same identity", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		opts := &registry.RegisterOptions{Instance: "calc-1", Groups: []string{"tools"}}
		first := session(t, rs[0])
		old := register(t, first, "calc", opts)
		together(t, rs...)
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = first.Close(gone) // it goes without a word: its end is for others to write
		next := session(t, rs[1])
		eventually(t, "it has its name again", func() bool {
			_, err := next.Register(within(t), "calc", opts)
			return err == nil
		})
		ok(t, old.Unregister(within(t)))
		ok(t, first.Close(within(t)))
		ok(t, rs[0].Close(within(t)))
		together(t, rs[1:]...)
		for _, r := range rs[1:] {
			ok(t, r.Refresh(within(t)))
			wantHeld(t, r, "calc", next)
			wantMembers(t, r, "tools", "calc-1")
		}
	}},
	{"joins while processes are replaced one after the other", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		steady := session(t, rs[0])
		join(t, steady, "tools", "steady")
		var last *registry.Session
		for i := 1; i < len(rs); i++ {
			join(t, session(t, rs[i]), "tools", "old")
			fresh := b.one(t)
			last = session(t, fresh)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := last.Join(within(t), "tools", nil); err != nil {
					t.Errorf("join: %v", err)
				}
			})
			wg.Go(func() {
				if err := rs[i].Close(within(t)); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			wg.Wait()
			together(t, rs[0], fresh)
			ok(t, rs[0].Refresh(within(t)))
			wantSame(t, rs[0], fresh)
			n, err := rs[0].MemberCount("tools")
			ok(t, err)
			if n != 1+i { // the steady one and all that are new
				t.Fatalf("%d members after %d replacements", n, i)
			}
		}
	}},
	{"a watcher that is there before the servers", func(t *testing.T, b *Bed) {
		early := b.one(t)
		all, one := listen(t, early, nil), listen(t, early, &registry.WatchOptions{Group: "tools"})
		for _, l := range []*listener{all, one} {
			if first := l.until(t, registry.Synced); len(first) != 1 {
				t.Fatalf("%+v", first)
			}
		}
		held := make(chan registry.Record, 1)
		go func() {
			rec, err := early.Await(within(t), "calc")
			if err != nil {
				t.Errorf("await: %v", err)
			}
			held <- rec
		}()
		s := session(t, b.one(t))
		register(t, s, "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}})
		if rec := receive(t, held, "who waited has it"); rec.Session != s.ID() {
			t.Fatalf("%+v", rec)
		}
		all.take(t, 2)
		if ev := one.take(t, 1)[0]; ev.Kind != registry.Joined || ev.Member.Instance != "i" {
			t.Fatalf("%+v", ev)
		}
	}},
}}

// wantNobodyFor checks for a while, and at its end with the log's word, that nobody holds anything.
func wantNobodyFor(t testing.TB, r *registry.Registry, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		wantNames(t, r)
		if got := r.Groups(); len(got) != 0 {
			t.Fatalf("groups %q", got)
		}
	}
	ok(t, r.Refresh(within(t)))
	wantNames(t, r)
	if got := r.Groups(); len(got) != 0 {
		t.Fatalf("groups %q", got)
	}
}
