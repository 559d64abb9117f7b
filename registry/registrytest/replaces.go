package registrytest

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// taking is a forced take-over.
func taking(instance string) *registry.RegisterOptions {
	return &registry.RegisterOptions{Instance: instance, Conflict: registry.Replace, Reason: "new version"}
}

var replaces = chapter{"forced take-overs", []test{
	{"the owner before is told who has the name, and why", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		old := register(t, session(t, rs[0]), "calc", nil)
		next := session(t, rs[1])
		together(t, rs...)
		won := register(t, next, "calc", taking(""))
		receive(t, old.Done(), "the owner before is told")
		if lost, is := errors.AsType[*registry.LostError](old.Err()); !is || lost.By != next.ID() || lost.Reason != "replaced: new version" {
			t.Fatalf("told %v", old.Err())
		}
		if old.Serving() || !won.Serving() || won.Token() <= old.Token() || !old.Session().Valid() {
			t.Fatalf("old serving %v, new serving %v with token %d after %d", old.Serving(), won.Serving(), won.Token(), old.Token())
		}
		together(t, rs...)
		wantHeld(t, rs[0], "calc", next)
	}},
	{"what a session sent that has died since takes nothing", func(t *testing.T, b *Bed) {
		owner := b.one(t)
		reg := register(t, session(t, owner), "calc", nil)
		r, way := b.faulty(t)
		together(t, owner, r)
		s := session(t, r)
		late, sent, came := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		var first atomic.Bool
		way.OnWrite(func(ops []kvstore.Op) Fate {
			switch {
			case !touches(ops, "names."):
				return Fate{}
			case first.CompareAndSwap(false, true):
				close(sent)
				return Fate{Until: late, Then: func(err error) { came <- err }}
			}
			return Fate{Lost: true}
		})
		answer := make(chan error, 1)
		go func() {
			_, err := s.Register(within(t), "calc", taking("late"))
			answer <- err
		}()
		<-sent
		ok(t, s.Close(within(t)))
		wantError(t, receive(t, answer, "the claim ends with its session"), registry.ErrSessionEnded)
		together(t, owner, r)
		close(late)
		wantError(t, receive(t, came, "the late write"), kvstore.ErrConflict)
		together(t, owner, r)
		wantHeld(t, owner, "calc", reg.Session())
		if !reg.Serving() {
			t.Fatalf("robbed by the dead: %v", reg.Err())
		}
	}},
	{"one that was done unheard does not take from who came after it", func(t *testing.T, b *Bed) {
		owner := b.one(t)
		register(t, session(t, owner), "calc", nil)
		third := session(t, owner)
		r, way := b.faulty(t)
		together(t, owner, r)
		s := session(t, r)
		var reg *registry.Registration
		way.OnWrite(once(func() Fate {
			return Fate{Unheard: true, Then: func(error) { reg = register(t, third, "calc", taking("third")) }}
		}, "names."))
		_, err := s.Register(within(t), "calc", taking("second"))
		wantTaken(t, err, reg)
		together(t, owner, r)
		wantHeld(t, r, "calc", third)
		if !reg.Serving() {
			t.Fatalf("robbed by a write that was done already: %v", reg.Err())
		}
	}},
	{"one whose request was lost is done again", func(t *testing.T, b *Bed) {
		owner := b.one(t)
		old := register(t, session(t, owner), "calc", nil)
		r, way := b.faulty(t)
		together(t, owner, r)
		s := session(t, r)
		way.OnWrite(once(func() Fate { return Fate{Lost: true} }, "names."))
		won := register(t, s, "calc", taking("next"))
		receive(t, old.Done(), "the owner before is told")
		if !won.Serving() || !s.Valid() {
			t.Fatalf("%v, %v", won.Err(), s.Err())
		}
	}},
}}
