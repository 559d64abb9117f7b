package registry

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// What a reader got never changes under him, whatever joins and leaves after, and what the next one gets is what is visible, oldest first.
func TestMembersNeverChangeUnderTheirReader(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	l, v := newLogbook("log"), newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A"), putLease("B")))
	type reading struct{ got, copied []Member }
	var readings []reading
	for range 2000 {
		instance, session := fmt.Sprint("i", rnd.IntN(12)), string("AB"[rnd.IntN(2)])
		switch rnd.IntN(8) {
		case 0:
			v.apply(l.append(del(leaseKey(session), ReasonClosed)))
			v.apply(l.append(putLease(session))) // one never comes back, but a view does not know
		case 1, 2:
			v.apply(l.append(del(groupKey("g", instance), ReasonLeft)))
		default:
			member := Member{Group: "g", Session: session, Instance: instance, Node: "n" + session}
			if m := v.groups["g"][instance]; m != nil {
				member.Token = m.Token // an update
			}
			v.apply(l.append(put(groupKey("g", instance), encode(groupRecord{Member: member, V: recordVersion}))))
		}
		if rnd.IntN(2) == 0 {
			continue
		}
		got, err := v.members("g")
		if err != nil {
			t.Fatal(err)
		}
		var want []Member
		for _, m := range v.groups["g"] {
			want = append(want, *m)
		}
		slices.SortFunc(want, olderMember)
		if !slices.EqualFunc(got, want, func(a, b Member) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("%+v, want %+v", got, want)
		}
		local, _ := v.localMembers("g", "nA")
		want = slices.DeleteFunc(want, func(m Member) bool { return m.Node != "nA" })
		if !slices.EqualFunc(local, want, func(a, b Member) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("on nA: %+v, want %+v", local, want)
		}
		if n, _ := v.memberCount("g"); n != len(got) || cap(got) != len(got) || cap(local) != len(local) {
			t.Fatalf("%d members counted, %d listed with room for %d", n, len(got), cap(got))
		}
		for _, members := range [][]Member{got, local} {
			readings = append(readings, reading{members, slices.Clone(members)})
		}
	}
	for i, r := range readings {
		if !reflect.DeepEqual(r.got, r.copied) {
			t.Fatalf("reading %d changed: %+v, was %+v", i, r.got, r.copied)
		}
	}
	v.apply(l.append(del(leaseKey("A"), ReasonClosed), del(leaseKey("B"), ReasonClosed)))
	if got, _ := v.members("g"); len(got) != 0 || len(v.lists) != 0 {
		t.Errorf("%d members and %d lists are left", len(got), len(v.lists))
	}
}

func groupView(tb testing.TB, members int) *Registry {
	tb.Helper()
	l, v := newLogbook("log"), newView()
	v.apply(l.snapshot())
	v.apply(l.append(putLease("A")))
	for i := range members {
		v.apply(l.append(putMember("tools", fmt.Sprint("i", i), "A")))
	}
	return &Registry{view: v, clock: systemClock{}, node: "n"}
}

func TestMembersDoesNotAllocate(t *testing.T) {
	r := groupView(t, 10)
	r.Members("tools")
	if n := testing.AllocsPerRun(100, func() {
		if got, err := r.Members("tools"); err != nil || len(got) != 10 {
			t.Fatal(len(got), err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMembers10(b *testing.B) {
	r := groupView(b, 10)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, err := r.Members("tools"); err != nil || len(got) != 10 {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if got, err := r.Members("tools"); err != nil || len(got) != 10 {
					b.Error(len(got), err)
					return
				}
			}
		})
	})
	b.Run("changing", func(b *testing.B) { // every reading after a change
		l := newLogbook("log")
		l.last = r.view.revision
		for i := 0; b.Loop(); i++ {
			entry := putMember("tools", fmt.Sprint("i", i%10), "A")
			if i/10%2 == 0 {
				entry = del(groupKey("tools", fmt.Sprint("i", i%10)), ReasonLeft)
			}
			r.view.apply(l.append(entry))
			if _, err := r.Members("tools"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
