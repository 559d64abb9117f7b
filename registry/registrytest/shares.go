package registrytest

import (
	"errors"
	"slices"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

// replica is a server that shares its name.
func replica(instance, digest string) *registry.RegisterOptions {
	return &registry.RegisterOptions{Instance: instance, Digest: digest}
}

// wantReplicas checks who serves a shared name, by instance, in order.
func wantReplicas(t *testing.T, r *registry.Registry, name string, want ...string) {
	t.Helper()
	all, err := r.Replicas(name)
	ok(t, err)
	got := make([]string, len(all))
	for i, by := range all {
		got[i] = by.Instance
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s is served by %q, want %q", name, got, want)
	}
}

// wantShown waits until a view shows that an instance stands for a shared name, under the token that it always had.
func wantShown(t *testing.T, r *registry.Registry, name, instance string, by *registry.Registration) {
	t.Helper()
	eventually(t, instance+" stands for "+name, func() bool {
		rec, err := r.Whereis(name)
		ok(t, err) // it is never absent
		if rec.Token != by.Token() {
			t.Fatalf("token %d, want %d", rec.Token, by.Token())
		}
		return rec.Instance == instance
	})
}

var shares = chapter{"shared names", []test{
	{"who says the same digest serves it too, under one token", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		first := register(t, session(t, rs[0]), "calc", replica("i1", "d"))
		together(t, rs...)
		second := register(t, session(t, rs[1]), "calc", replica("i2", "d"))
		together(t, rs...)
		third := register(t, session(t, rs[2]), "calc", replica("i3", "d"))
		together(t, rs...)
		for i, reg := range []*registry.Registration{first, second, third} {
			if !reg.Serving() || reg.Token() != first.Token() || reg.Instance() != []string{"i1", "i2", "i3"}[i] {
				t.Fatalf("%+v, serving %v", reg.Record(), reg.Serving())
			}
			wantReplicas(t, rs[i], "calc", "i1", "i2", "i3")
			wantHeld(t, rs[i], "calc", first.Session())
		}
	}},
	{"another digest, or none, is told that it is taken", func(t *testing.T, b *Bed) {
		r := b.one(t)
		first := register(t, session(t, r), "calc", replica("i1", "d"))
		for _, digest := range []string{"other", ""} {
			_, err := session(t, r).Register(within(t), "calc", replica("i2", digest))
			wantError(t, err, registry.ErrNameTaken)
			if taken, _ := errors.AsType[*registry.NameTakenError](err); taken.Owner.Instance != "i1" || taken.Owner.Token != first.Token() {
				t.Fatalf("told %+v", taken)
			}
		}
		alone := register(t, session(t, r), "alone", nil)
		_, err := session(t, r).Register(within(t), "alone", replica("i2", "d"))
		wantTaken(t, err, alone)
		wantReplicas(t, r, "calc", "i1")
		wantReplicas(t, r, "alone")
	}},
	{"it stays while one of them lives, however the others go", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		first := register(t, session(t, rs[0]), "calc", replica("i1", "d"))
		together(t, rs...)
		second := register(t, session(t, rs[1]), "calc", replica("i2", "d"))
		down, err := rs[1].Monitor(t.Context(), "calc")
		ok(t, err)
		ok(t, first.Unregister(within(t)))
		wantError(t, first.Err(), registry.ErrUnregistered)
		wantShown(t, rs[1], "calc", "i2", second)
		third := register(t, session(t, rs[0]), "calc", replica("i3", "d"))
		together(t, rs...)
		wantReplicas(t, rs[1], "calc", "i2", "i3")
		ok(t, second.Session().Close(within(t)))
		wantShown(t, rs[0], "calc", "i3", third)
		together(t, rs...)
		select {
		case d := <-down:
			t.Fatalf("the monitor of a name that stays says %+v", d)
		default:
		}
		ok(t, third.Session().Close(within(t)))
		receive(t, down, "the last has gone")
		wantFree(t, rs[0], "calc")
	}},
	{"what one of them says of it, all say, and he who says it last stays", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		first := register(t, session(t, rs[0]), "calc", replica("i1", "d"))
		together(t, rs...)
		second := register(t, session(t, rs[1]), "calc", replica("i2", "d"))
		ok(t, second.Update(within(t), func(rec *registry.Record) { rec.Kind = "tool" }))
		together(t, rs...)
		for _, reg := range []*registry.Registration{first, second} {
			if rec := reg.Record(); rec.Kind != "tool" || rec.Token != first.Token() {
				t.Fatalf("%+v", rec)
			}
		}
		wantHeld(t, rs[0], "calc", first.Session())
	}},
	{"who stands by has it when none of them is left, not before", func(t *testing.T, b *Bed) {
		r := b.one(t)
		first := register(t, session(t, r), "calc", replica("i1", "d"))
		second := register(t, session(t, r), "calc", replica("i2", "d"))
		waits, token := session(t, r), first.Token()
		place, err := waits.StandBy(within(t), "calc", nil)
		ok(t, err)
		ok(t, first.Session().Close(within(t)))
		wantShown(t, r, "calc", "i2", second)
		if _, elected := place.Elected(); elected {
			t.Fatal("elected while one serves it")
		}
		ok(t, second.Unregister(within(t)))
		won, err := place.Wait(within(t))
		ok(t, err)
		if wantHeld(t, r, "calc", waits); won.Token() <= token {
			t.Fatalf("token %d after %d", won.Token(), token)
		}
		_, err = session(t, r).Register(within(t), "calc", replica("i3", "d"))
		wantTaken(t, err, won)
	}},
	{"a Replace takes it from all of them", func(t *testing.T, b *Bed) {
		r := b.one(t)
		first := register(t, session(t, r), "calc", replica("i1", "d"))
		second := register(t, session(t, r), "calc", replica("i2", "d"))
		next := session(t, r)
		won := register(t, next, "calc", taking(""))
		for _, reg := range []*registry.Registration{first, second} {
			receive(t, reg.Done(), "a replica is told")
			if !errors.Is(reg.Err(), registry.ErrLost) || reg.Serving() {
				t.Fatalf("%v, serving %v", reg.Err(), reg.Serving())
			}
		}
		eventually(t, "nobody shares it", func() bool { all, err := r.Replicas("calc"); return err == nil && len(all) == 0 })
		if wantHeld(t, r, "calc", next); !won.Serving() {
			t.Fatal(won.Err())
		}
	}},
}}
