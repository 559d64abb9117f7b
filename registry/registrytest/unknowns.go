package registrytest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// touches tells whether a write is of a key that begins so.
func touches(ops []kvstore.Op, prefix string) bool {
	for _, op := range ops {
		if strings.HasPrefix(op.Key, prefix) {
			return true
		}
	}
	return false
}

// once gives the first write of a key that begins so a fate; the others are done.
func once(fate func() Fate, prefix string) func([]kvstore.Op) Fate {
	var done atomic.Bool
	return func(ops []kvstore.Op) Fate {
		if touches(ops, prefix) && done.CompareAndSwap(false, true) {
			return fate()
		}
		return Fate{}
	}
}

// outcomes are the ways in which a write's outcome can stay unknown.
var outcomes = []struct {
	name string
	fate Fate
}{
	{"the answer is lost", Fate{Unheard: true}},
	{"the request is lost", Fate{Lost: true}},
	{"it comes late", Fate{Late: 700 * time.Millisecond}},
}

// each runs a test for every unknown outcome, on one bed: by one process each.
func each(t *testing.T, b *Bed, run func(t *testing.T, r *registry.Registry, way *Store, fate Fate)) {
	for _, o := range outcomes {
		r, way := b.faulty(t)
		t.Log(o.name)
		run(t, r, way, o.fate)
		way.OnWrite(nil)
		ok(t, r.Close(within(t)))
	}
}

var unknowns = chapter{"unknown outcomes", []test{
	{"a claim is got all the same, once", func(t *testing.T, b *Bed) {
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			s := session(t, r)
			way.OnWrite(once(func() Fate { return fate }, "names."))
			reg := register(t, s, "calc", &registry.RegisterOptions{Groups: []string{"tools"}})
			rec := wantHeld(t, r, "calc", s)
			if rec.Token != reg.Token() || !reg.Serving() {
				t.Fatalf("token %d shown, %d told", rec.Token, reg.Token())
			}
			_, err := session(t, r).Register(within(t), "calc", nil)
			wantTaken(t, err, reg)
			ok(t, reg.Unregister(within(t)))
		})
	}},
	{"a claim that was given up is held by nobody in the end", func(t *testing.T, b *Bed) {
		witness := b.one(t)
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			s := session(t, r)
			ctx, cancel := context.WithCancel(within(t))
			way.OnWrite(once(func() Fate { cancel(); return fate }, "names."))
			if reg, err := s.Register(ctx, "calc", nil); err == nil {
				wantHeld(t, r, "calc", s) // it was known before the context was looked at
				ok(t, reg.Unregister(within(t)))
			}
			other := session(t, witness)
			deadline := within(t)
			for { // the name is free now, or will be when the late write has been removed again
				reg, err := other.Register(deadline, "calc", nil)
				if err == nil {
					ok(t, reg.Unregister(deadline))
					break
				}
				wantError(t, err, registry.ErrNameTaken)
			}
			time.Sleep(fate.Late + 2*time.Second) // a late write has come by now, and must go again
			eventually(t, "nobody holds it", func() bool {
				_, err := witness.Whereis("calc")
				return errors.Is(err, registry.ErrNotFound)
			})
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
			ok(t, other.Close(within(t)))
		})
	}},
	{"a session is opened all the same, and no other lease stays", func(t *testing.T, b *Bed) {
		witness := b.one(t)
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			way.OnWrite(once(func() Fate { return fate }, "leases."))
			s := session(t, r)
			reg := register(t, s, "calc", nil)
			time.Sleep(fate.Late + 100*time.Millisecond)
			eventually(t, "one lease is left", func() bool {
				all := witness.Leases()
				return len(all) == 1 && all[0].Session == s.ID()
			})
			if !reg.Serving() {
				t.Fatal("not serving")
			}
			ok(t, s.Close(within(t)))
			together(t, r, witness)
		})
	}},
	{"an unregister is done in the end, and holds nothing from the call on", func(t *testing.T, b *Bed) {
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			s := session(t, r)
			reg := register(t, s, "calc", nil)
			way.OnWrite(once(func() Fate {
				if reg.Serving() {
					t.Error("it serves while its end is being written")
				}
				return fate
			}, "names."))
			ok(t, reg.Unregister(within(t)))
			wantFree(t, r, "calc")
			second := register(t, s, "calc", nil)
			time.Sleep(fate.Late + 100*time.Millisecond) // the late delete of the first must not hit the second
			if wantHeld(t, r, "calc", s); !second.Serving() || second.Token() <= reg.Token() {
				t.Fatalf("serving %v, token %d after %d", second.Serving(), second.Token(), reg.Token())
			}
			ok(t, second.Unregister(within(t)))
		})
	}},
	{"an unregister that was given up is done later", func(t *testing.T, b *Bed) {
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			s := session(t, r)
			reg := register(t, s, "calc", nil)
			ctx, cancel := context.WithCancel(within(t))
			way.OnWrite(once(func() Fate { cancel(); return fate }, "names."))
			_ = reg.Unregister(ctx)
			if reg.Serving() {
				t.Fatal("it serves after its end was asked for")
			}
			eventually(t, "the name is free", func() bool {
				_, err := r.Whereis("calc")
				return errors.Is(err, registry.ErrNotFound)
			})
		})
	}},
	{"a close is done in the end", func(t *testing.T, b *Bed) {
		witness := b.one(t)
		each(t, b, func(t *testing.T, r *registry.Registry, way *Store, fate Fate) {
			s := session(t, r)
			register(t, s, "calc", nil)
			way.OnWrite(once(func() Fate {
				if s.Valid() {
					t.Error("valid while its end is being written")
				}
				return fate
			}, "leases."))
			ok(t, s.Close(within(t)))
			together(t, r, witness)
			wantFree(t, witness, "calc")
			if len(witness.Leases()) != 0 {
				t.Fatalf("%+v", witness.Leases())
			}
		})
	}},
	{"what cannot be written says so and leaves nothing", func(t *testing.T, b *Bed) {
		r, way := b.faulty(t)
		s := session(t, r)
		way.OnWrite(func(ops []kvstore.Op) Fate {
			if touches(ops, "names.") || touches(ops, "groups.") {
				return Fate{Err: kvstore.ErrUnavailable}
			}
			return Fate{}
		})
		_, err := s.Register(within(t), "calc", &registry.RegisterOptions{Groups: []string{"tools"}})
		wantError(t, err, registry.ErrUnavailable)
		_, err = s.Join(within(t), "tools", nil)
		wantError(t, err, registry.ErrUnavailable)
		wantFree(t, r, "calc")
		way.OnWrite(nil)
		register(t, s, "calc", nil)
		join(t, s, "tools", "")
	}},
}}
