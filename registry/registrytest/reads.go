package registrytest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/registry"
)

var reads = chapter{"reads", []test{
	{"a process reads its own writes", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		for i := range 20 {
			name := fmt.Sprintf("n%d", i)
			reg := register(t, s, name, nil)
			wantHeld(t, r, name, s)
			if r.Revision() < reg.Token() {
				t.Fatalf("revision %d, claimed at %d", r.Revision(), reg.Token())
			}
			ok(t, reg.Unregister(within(t)))
			wantFree(t, r, name)
		}
	}},
	{"another reads them when it has waited for the revision", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		s := session(t, rs[0])
		for i := range 20 {
			name := fmt.Sprintf("n%d", i)
			reg := register(t, s, name, nil)
			for _, r := range rs[1:] {
				ok(t, r.WaitFor(within(t), reg.Token()))
				wantHeld(t, r, name, s)
			}
		}
	}},
	{"after a refresh one reads what anybody was told before", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		s := session(t, rs[0])
		for i := range 10 {
			name := fmt.Sprintf("n%d", i)
			reg := register(t, s, name, nil)
			ok(t, rs[1].Refresh(within(t)))
			wantHeld(t, rs[1], name, s)
			ok(t, reg.Unregister(within(t)))
			ok(t, rs[2].Refresh(within(t)))
			wantFree(t, rs[2], name)
		}
	}},
	{"many refresh at once", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		ctx := within(t)
		var wg sync.WaitGroup
		for i := range 50 {
			name := fmt.Sprintf("n%d", i)
			wg.Go(func() {
				if _, err := s.Register(ctx, name, nil); err != nil {
					t.Error(err)
				}
				if err := rs[1].Refresh(ctx); err != nil {
					t.Error(err)
				}
				if _, err := rs[1].Whereis(name); err != nil {
					t.Errorf("%s after a refresh: %v", name, err)
				}
			})
		}
		wg.Wait()
	}},
	{"waiting for what does not come ends with its context", func(t *testing.T, b *Bed) {
		r := b.one(t)
		session(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		wantError(t, r.WaitFor(ctx, r.Revision()+1_000_000), context.DeadlineExceeded)
		ok(t, r.WaitFor(ctx, r.Revision()))
	}},
	{"a view says how old it can be once the scope is kept", func(t *testing.T, b *Bed) {
		r := b.one(t)
		session(t, r)
		var age time.Duration
		eventually(t, "the view knows its age", func() (known bool) { age, known = r.Age(); return known })
		if age < 0 || age > patience {
			t.Fatalf("age %v", age)
		}
		eventually(t, "it stays young", func() bool {
			age, known := r.Age()
			return known && age < 3*time.Second && age > 0
		})
	}},
	{"a reader of an empty scope sees nothing and makes nothing", func(t *testing.T, b *Bed) {
		r := b.one(t)
		if len(r.Names())+len(r.Groups())+len(r.Leases())+len(r.List()) != 0 || r.Revision() != 0 {
			t.Fatalf("revision %d, %q", r.Revision(), r.Names())
		}
		wantFree(t, r, "calc")
		if _, known := r.Age(); known {
			t.Fatal("an age without a pulse")
		}
	}},
	{"views of many processes converge, also of those that come late", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		ctx := within(t)
		var wg sync.WaitGroup
		for i, r := range rs {
			s := session(t, r)
			wg.Go(func() {
				for n := range 15 {
					reg, err := s.Register(ctx, fmt.Sprintf("n%d-%d", i, n), &registry.RegisterOptions{Instance: fmt.Sprintf("i%d-%d", i, n), Groups: []string{"tools"}})
					if err != nil {
						t.Error(err)
						return
					}
					if n%3 == 0 {
						if err := reg.Unregister(ctx); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		rs = append(rs, b.registries(t, 2)...)
		wantSame(t, rs...)
		if n := len(rs[4].Names()); n != 30 {
			t.Fatalf("%d names", n)
		}
	}},
}}
