package registry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

// One of something in the whole cluster: whoever campaigns first has the name, the next follows when it goes.
func ExampleSession_Campaign() {
	ctx := context.Background()
	reg, _ := registry.Open(ctx, kvstore.NewMemory(nil), nil)
	defer reg.Close(ctx)
	first, _ := reg.NewSession(ctx, nil)
	second, _ := reg.NewSession(ctx, nil)

	leader, err := first.Campaign(ctx, "scheduler", nil)
	fmt.Println("first leads:", leader.Serving(), err)

	elected := make(chan *registry.Registration)
	go func() {
		next, _ := second.Campaign(ctx, "scheduler", nil)
		elected <- next
	}()
	first.Close(ctx) // or dies
	next := <-elected
	fmt.Println("second leads:", next.Serving(), "with a higher token:", next.Token() > leader.Token())
	// Output:
	// first leads: true <nil>
	// second leads: true with a higher token: true
}

// The queue is kept in order, nobody slips in, and who leaves it is skipped.
func TestStandbyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		reg := openMemory(t)
		owner := newSession(t, reg)
		held, err := owner.Register(ctx, "one", nil)
		if err != nil {
			t.Fatal(err)
		}
		var sessions []*registry.Session
		var standbys []*registry.Standby
		for i := range 5 {
			s := newSession(t, reg)
			b, err := s.StandBy(ctx, "one", nil)
			if err != nil {
				t.Fatal(err)
			}
			if ahead, ok := b.Position(); ahead != i || !ok {
				t.Errorf("standby %d has position %d, %v", i, ahead, ok)
			}
			sessions, standbys = append(sessions, s), append(standbys, b)
		}
		if err := standbys[1].Withdraw(ctx); err != nil {
			t.Fatal(err)
		}
		if err := sessions[2].Close(ctx); err != nil {
			t.Fatal(err)
		}
		if err := held.Unregister(ctx); err != nil {
			t.Fatal(err)
		}
		_, err = owner.Register(ctx, "one", nil)
		if taken, ok := errors.AsType[*registry.NameTakenError](err); !ok {
			t.Errorf("who gave the name up claims it again before the queue: %v", err)
		} else {
			t.Log(taken)
		}
		token := held.Token()
		for _, i := range []int{0, 3, 4} {
			got, err := standbys[i].Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Serving() || got.Token() <= token {
				t.Errorf("standby %d: serving %v with token %d after %d", i, got.Serving(), got.Token(), token)
			}
			for _, j := range []int{3, 4} {
				if _, early := standbys[j].Elected(); early && j > i {
					t.Errorf("standby %d was elected before %d", j, i)
				}
			}
			token = got.Token()
			if err := sessions[i].Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if names := reg.Names(); len(names) != 0 {
			t.Errorf("left: %v", names)
		}
	})
}

// A name is given to another session as one entry: it is never free, and the token grows.
func TestTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		reg := openMemory(t)
		from := newSession(t, reg)
		got := make(chan *registry.Registration, 1)
		to, err := reg.NewSession(ctx, &registry.SessionOptions{Receiver: &registry.Receiver{Received: func(r *registry.Registration) { got <- r }}})
		if err != nil {
			t.Fatal(err)
		}
		held, err := from.Register(ctx, "one", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Transfer(ctx, newSession(t, reg).ID()); !errors.Is(err, registry.ErrDeclined) || !held.Serving() {
			t.Fatalf("to a session that takes none: %v, serving %v", err, held.Serving())
		}
		if err := held.Transfer(ctx, to.ID()); err != nil {
			t.Fatal(err)
		}
		now := <-got
		if !errors.Is(held.Err(), registry.ErrTransferred) || held.Serving() || !now.Serving() || now.Token() <= held.Token() {
			t.Errorf("old: %v, serving %v; new: serving %v, tokens %d and %d", held.Err(), held.Serving(), now.Serving(), held.Token(), now.Token())
		}
		if rec, err := reg.Whereis("one"); err != nil || rec.Session != to.ID() {
			t.Errorf("whereis: %v, %v", rec.Session, err)
		}
		if err := now.Unregister(ctx); err != nil || len(reg.Names()) != 0 {
			t.Errorf("%v, left: %v", err, reg.Names())
		}
	})
}

// Replace takes the name from a living owner and tells him why; from a strict one it waits until he has gone.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		reg := openMemory(t)
		old, next := newSession(t, reg), newSession(t, reg)
		held, err := old.Register(ctx, "one", &registry.RegisterOptions{Instance: "i1", Groups: []string{"tools"}})
		if err != nil {
			t.Fatal(err)
		}
		down, err := reg.Monitor(ctx, "one")
		if err != nil {
			t.Fatal(err)
		}
		won, err := next.Register(ctx, "one", &registry.RegisterOptions{Conflict: registry.Replace, Reason: "new version"})
		if err != nil {
			t.Fatal(err)
		}
		if d := <-down; d.Reason != "replaced: new version" {
			t.Errorf("the reason is %q", d.Reason)
		}
		synctest.Wait()
		if lost, ok := errors.AsType[*registry.LostError](held.Err()); !ok || lost.Reason != "replaced: new version" || lost.By != next.ID() {
			t.Errorf("the owner before is told %v", held.Err())
		}
		if !errors.Is(held.Err(), registry.ErrLost) || !won.Serving() || won.Token() <= held.Token() {
			t.Errorf("old %v; new serving %v with token %d after %d", held.Err(), won.Serving(), won.Token(), held.Token())
		}
		if members, err := reg.Members("tools"); err != nil || len(members) != 0 {
			t.Errorf("the old instance is still in its groups: %v, %v", members, err)
		}

		strict, err := reg.NewSession(ctx, &registry.SessionOptions{Mode: registry.Strict})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := strict.Register(ctx, "two", nil); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if _, err := next.Register(short, "two", &registry.RegisterOptions{Conflict: registry.Replace}); !errors.Is(err, registry.ErrNameTaken) {
			t.Errorf("from a strict owner who lives: %v", err)
		}
	})
}

// Many names are claimed in one step, or none.
func TestRegisterMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		reg := openMemory(t)
		s, other := newSession(t, reg), newSession(t, reg)
		var names []registry.NameOptions
		for i := range 500 {
			names = append(names, registry.NameOptions{Name: fmt.Sprintf("n%d", i), RegisterOptions: registry.RegisterOptions{Groups: []string{fmt.Sprintf("g%d", i%3)}}})
		}
		if _, err := other.Register(ctx, "n77", nil); err != nil {
			t.Fatal(err)
		}
		_, err := s.RegisterMany(ctx, names)
		if taken, ok := errors.AsType[*registry.NameTakenError](err); !ok || taken.Name != "n77" {
			t.Fatalf("one is taken: %v", err)
		}
		if got := reg.Names(); len(got) != 1 {
			t.Errorf("some were claimed: %d", len(got))
		}
		if err := other.Close(ctx); err != nil {
			t.Fatal(err)
		}
		regs, err := s.RegisterMany(ctx, names)
		if err != nil || len(regs) != 500 || len(reg.Names()) != 500 || len(reg.Groups()) != 3 {
			t.Fatalf("%d of %d names in %d groups: %v", len(regs), len(reg.Names()), len(reg.Groups()), err)
		}
		if _, err := s.RegisterMany(ctx, names); err != nil {
			t.Errorf("again: %v", err)
		}
		if r, rec, err := other.RegisterOrLocate(ctx, "n1", nil); err == nil {
			t.Errorf("a closed session: %v %v", r, rec)
		}
		if r, rec, err := newSession(t, reg).RegisterOrLocate(ctx, "n1", nil); r != nil || err != nil || rec.Session != s.ID() {
			t.Errorf("locate: %v, %v, %v", r, rec.Session, err)
		}
	})
}

// storeOf is the store of a registry that openMemory has opened.
var storeOf = map[*registry.Registry]kvstore.Store{}

func openMemory(t *testing.T) *registry.Registry {
	t.Helper()
	store := kvstore.NewMemory(nil)
	reg, err := registry.Open(t.Context(), store, &registry.Options{Clock: registrytest.NewClock(0)})
	if err != nil {
		t.Fatal(err)
	}
	storeOf[reg] = store
	t.Cleanup(func() {
		if err := reg.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return reg
}

func newSession(t *testing.T, reg *registry.Registry) *registry.Session {
	t.Helper()
	s, err := reg.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A shared name stays while one of those who serve it lives; the token stays, and no other digest gets in.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		reg := openMemory(t)
		var sessions []*registry.Session
		var regs []*registry.Registration
		for i := range 3 {
			s := newSession(t, reg)
			r, err := s.Register(ctx, "shared", &registry.RegisterOptions{Digest: "d1", Instance: fmt.Sprintf("i%d", i), Groups: []string{"tools"}})
			if err != nil {
				t.Fatal(err)
			}
			sessions, regs = append(sessions, s), append(regs, r)
		}
		token := regs[0].Token()
		for i, r := range regs {
			if r.Token() != token || !r.Serving() || r.Instance() != fmt.Sprintf("i%d", i) {
				t.Errorf("replica %d: token %d, serving %v, instance %s", i, r.Token(), r.Serving(), r.Instance())
			}
		}
		other := newSession(t, reg)
		for _, digest := range []string{"", "d2"} {
			if _, err := other.Register(ctx, "shared", &registry.RegisterOptions{Digest: digest}); !errors.Is(err, registry.ErrNameTaken) {
				t.Errorf("digest %q: %v", digest, err)
			}
		}
		standby, err := other.StandBy(ctx, "shared", nil)
		if err != nil {
			t.Fatal(err)
		}
		down, err := reg.Monitor(ctx, "shared")
		if err != nil {
			t.Fatal(err)
		}
		if replicas, err := reg.Replicas("shared"); err != nil || len(replicas) != 3 {
			t.Errorf("replicas: %v, %v", replicas, err)
		}

		if err := sessions[0].Close(ctx); err != nil { // its record's owner dies: the next stands for it at that very entry
			t.Fatal(err)
		}
		if rec, err := reg.Whereis("shared"); err != nil || rec.Instance != "i1" || rec.Token != token {
			t.Fatalf("after the first died: %+v, %v", rec, err)
		}
		synctest.Wait() // and takes the record over
		snap, err := registry.Load(ctx, storeOf[reg])
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := snap.Whereis("shared"); err != nil || rec.Session != sessions[1].ID() || rec.Token != token {
			t.Errorf("a fresh reader: %+v, %v", rec, err)
		}
		if err := regs[1].Unregister(ctx); err != nil { // in good order: another takes its place in the same step
			t.Fatal(err)
		}
		if rec, err := reg.Whereis("shared"); err != nil || rec.Instance != "i2" || rec.Token != token || rec.Revision == token {
			t.Fatalf("after the second left: %+v, %v", rec, err)
		}
		select {
		case d := <-down:
			t.Errorf("the name was gone: %v", d)
		default:
		}
		if members, err := reg.Members("tools"); err != nil || len(members) != 1 {
			t.Errorf("members: %v, %v", members, err)
		}
		if err := sessions[2].Close(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := standby.Wait(ctx) // only now it is a standby's turn
		if err != nil || got.Token() <= token {
			t.Fatalf("the standby: %v", err)
		}
		if d := <-down; d.What != "shared" {
			t.Errorf("%v", d)
		}
	})
}
