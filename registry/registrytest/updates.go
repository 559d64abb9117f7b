package registrytest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

var updates = chapter{"updates", []test{
	{"the name is never absent and its token stays", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", &registry.RegisterOptions{Metadata: map[string]string{"n": "0"}})
		token := reg.Token()
		ok(t, rs[1].WaitFor(within(t), token))
		l := listen(t, rs[1], nil)
		l.until(t, registry.Synced)
		for i := range 20 {
			ok(t, reg.Update(within(t), func(rec *registry.Record) {
				rec.Metadata["n"] = fmt.Sprint(i + 1)
				rec.Kind, rec.Address, rec.Labels = "k", "a", map[string]string{"l": "v"}
				rec.Name, rec.Session, rec.Token = "other", "other", 7 // not to be changed
			}))
			if rec := wantHeld(t, rs[0], "calc", s); rec.Metadata["n"] != fmt.Sprint(i+1) || rec.Token != token || rec.Revision <= token {
				t.Fatalf("%+v", rec)
			}
		}
		for _, ev := range l.take(t, 20) {
			if ev.Kind != registry.Updated || ev.Record.Token != token {
				t.Fatalf("%+v", ev)
			}
		}
		if rec := reg.Record(); rec.Kind != "k" || rec.Address != "a" || rec.Labels["l"] != "v" || reg.Token() != token || !reg.Serving() {
			t.Fatalf("%+v", rec)
		}
		if again := register(t, s, "calc", nil); again.Token() != token {
			t.Fatalf("token %d, then %d", token, again.Token())
		}
	}},
	{"many updates at once: none is lost", func(t *testing.T, b *Bed) {
		r := b.one(t)
		reg := register(t, session(t, r), "calc", nil)
		ctx := within(t)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := reg.Update(ctx, func(rec *registry.Record) {
					if rec.Labels == nil {
						rec.Labels = map[string]string{}
					}
					rec.Labels[fmt.Sprint(i)] = "here"
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		rec, err := r.Whereis("calc")
		ok(t, err)
		if len(rec.Labels) != 20 {
			t.Fatalf("%d updates of 20: %v", len(rec.Labels), rec.Labels)
		}
	}},
	{"an update whose answer is lost is done once", func(t *testing.T, b *Bed) {
		r, way := b.faulty(t)
		reg := register(t, session(t, r), "calc", nil)
		way.OnWrite(once(func() Fate { return Fate{Unheard: true} }, "names."))
		ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Kind += "x" }))
		if rec, err := r.Whereis("calc"); err != nil || rec.Kind != "x" {
			t.Fatalf("kind %q (%v), want one x", rec.Kind, err)
		}
	}},
	{"what is over cannot be updated", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		reg := register(t, s, "calc", nil)
		ok(t, s.Close(within(t)))
		wantError(t, reg.Update(within(t), func(*registry.Record) {}), registry.ErrSessionEnded)
	}},
}}
