package registrytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

// crowd is how many sessions claim one name at once.
const crowd = 200

// claimed is what one of them was told.
type claimed struct {
	reg *registry.Registration
	err error
}

// race has every session claim a name at the same time.
func race(ctx context.Context, ss []*registry.Session, name string) []claimed {
	out := make([]claimed, len(ss))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, s := range ss {
		wg.Go(func() {
			<-start
			out[i].reg, out[i].err = s.Register(ctx, name, nil)
		})
	}
	close(start)
	wg.Wait()
	return out
}

// wantOne checks that one has won and all others were told that it is he.
func wantOne(t *testing.T, got []claimed) *registry.Registration {
	t.Helper()
	var winner *registry.Registration
	for _, c := range got {
		if c.err != nil {
			continue
		}
		if winner != nil {
			t.Fatalf("two winners: %s and %s", winner.Session().ID(), c.reg.Session().ID())
		}
		winner = c.reg
	}
	if winner == nil {
		t.Fatalf("nobody has won: %v", got[0].err)
	}
	for _, c := range got {
		if c.err != nil {
			wantTaken(t, c.err, winner)
		}
	}
	return winner
}

// many opens n sessions, spread over processes, many at a time.
func many(t *testing.T, rs []*registry.Registry, n int) []*registry.Session {
	t.Helper()
	out := make([]*registry.Session, n)
	errs := make([]error, n)
	ctx := within(t)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out[i], errs[i] = rs[i%len(rs)].NewSession(ctx, nil) })
	}
	wg.Wait()
	ok(t, errors.Join(errs...))
	return out
}

var claims = chapter{"claims", []test{
	{"the loser learns who holds the name and since when", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		reg := register(t, session(t, rs[0]), "calc", nil)
		_, err := session(t, rs[0]).Register(within(t), "calc", nil)
		wantTaken(t, err, reg)
		_, err = session(t, rs[1]).Register(within(t), "calc", nil)
		wantTaken(t, err, reg)
		if !reg.Serving() {
			t.Fatal("the owner was disturbed")
		}
	}},
	{"200 sessions claim one name, and again when its owner is closed", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		ss := many(t, rs, crowd)
		winner := wantOne(t, race(within(t), ss, "calc"))
		for _, r := range rs {
			ok(t, r.WaitFor(within(t), winner.Token()))
			wantHeld(t, r, "calc", winner.Session())
		}
		first := winner.Token()
		closed := winner.Session()
		ok(t, closed.Close(within(t)))
		together(t, rs...)
		var rest []*registry.Session
		for _, s := range ss {
			if s != closed {
				rest = append(rest, s)
			}
		}
		winner = wantOne(t, race(within(t), rest, "calc"))
		if winner.Token() <= first {
			t.Fatalf("token %d after %d", winner.Token(), first)
		}
	}},
	{"200 claim one name while its owner gives it up", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		ss := many(t, rs, crowd)
		owner := register(t, session(t, rs[0]), "calc", nil)
		done := make(chan error, 1)
		ctx := within(t)
		go func() { done <- owner.Unregister(ctx) }()
		held := 0
		for _, c := range race(within(t), ss, "calc") {
			switch {
			case c.err == nil:
				held++
			case !errors.Is(c.err, registry.ErrNameTaken):
				t.Fatal(c.err)
			}
		}
		ok(t, receive(t, done, "unregister returns"))
		if held > 1 {
			t.Fatalf("%d have won", held)
		}
		wantSame(t, rs...)
	}},
	{"one session claims one name many times at once", func(t *testing.T, b *Bed) {
		s := session(t, b.one(t))
		same := make([]*registry.Session, 50)
		for i := range same {
			same[i] = s
		}
		var token uint64
		for _, c := range race(within(t), same, "calc") {
			ok(t, c.err)
			if token != 0 && uint64(c.reg.Token()) != token {
				t.Fatalf("tokens %d and %d", token, c.reg.Token())
			}
			token = uint64(c.reg.Token())
		}
	}},
	{"many claim many names at once, and none is lost or held twice", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		ss := many(t, rs, 12)
		var mu sync.Mutex
		owner := map[string]string{}
		var wg sync.WaitGroup
		ctx := within(t)
		for i, s := range ss {
			wg.Go(func() {
				for n := range 10 {
					name := fmt.Sprintf("n%d", (i+n)%10)
					reg, err := s.Register(ctx, name, nil)
					mu.Lock()
					switch {
					case err == nil && owner[name] != "" && owner[name] != s.ID():
						t.Errorf("%s has two owners", name)
					case err == nil:
						owner[name] = reg.Session().ID()
					case !errors.Is(err, registry.ErrNameTaken):
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		wantSame(t, rs...)
		for _, rec := range rs[2].List() {
			if owner[rec.Name] != rec.Session {
				t.Errorf("%s is held by %s, %s was told so", rec.Name, rec.Session, owner[rec.Name])
			}
		}
		if len(owner) != 10 {
			t.Errorf("%d names of 10", len(owner))
		}
	}},
}}
