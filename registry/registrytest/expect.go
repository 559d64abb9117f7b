package registrytest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/registry"
)

// patience is how long anything may take that has no time of its own in the contract: it is to fail a test that hangs, no more.
const patience = 40 * time.Second

// within gives a test's calls an end.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// receive waits for one value of a channel.
func receive[T any](t testing.TB, from <-chan T, what string) (v T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-from:
	case <-timer.C:
		t.Fatalf("not within %v: %s", patience, what)
	}
	return v
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// wantTaken checks that a loser learns who has the name, and since when.
func wantTaken(t testing.TB, err error, owner *registry.Registration) {
	t.Helper()
	wantError(t, err, registry.ErrNameTaken)
	taken, is := errors.AsType[*registry.NameTakenError](err)
	if !is {
		t.Fatalf("%T is no *NameTakenError", err)
	}
	rec := owner.Record()
	if taken.Name != rec.Name || taken.Owner.Session != rec.Session || taken.Owner.Instance != rec.Instance ||
		taken.Owner.Token != rec.Token || !taken.Owner.Since.Equal(rec.Since) || taken.Owner.Since.IsZero() {
		t.Fatalf("told %+v, the owner is %+v", taken.Owner, rec)
	}
}

// wantEnded checks why a session ended.
func wantEnded(t testing.TB, err error, session string, reason registry.Reason) {
	t.Helper()
	wantError(t, err, registry.ErrSessionEnded)
	if ended, _ := errors.AsType[*registry.SessionEndedError](err); ended.Session != session || ended.Reason != reason {
		t.Fatalf("%+v, want the end of %s: %s", ended, session, reason)
	}
}

func wantFree(t testing.TB, r *registry.Registry, name string) {
	t.Helper()
	if rec, err := r.Whereis(name); !errors.Is(err, registry.ErrNotFound) {
		t.Fatalf("%s is %+v (%v), want nobody", name, rec, err)
	}
}

// wantHeld checks that a view shows a name as the session's.
func wantHeld(t testing.TB, r *registry.Registry, name string, s *registry.Session) registry.Record {
	t.Helper()
	rec, err := r.Whereis(name)
	ok(t, err)
	if rec.Session != s.ID() || rec.Name != name {
		t.Fatalf("%s is held by %+v, want session %s", name, rec, s.ID())
	}
	return *rec
}

func wantNames(t testing.TB, r *registry.Registry, want ...string) {
	t.Helper()
	if got := r.Names(); !slices.Equal(got, want) {
		t.Fatalf("names %q, want %q", got, want)
	}
}

// wantMembers checks who is in a group, by instance, in order.
func wantMembers(t testing.TB, r *registry.Registry, group string, want ...string) {
	t.Helper()
	members, err := r.Members(group)
	ok(t, err)
	got := make([]string, len(members))
	for i, m := range members {
		got[i] = m.Instance
	}
	if !slices.Equal(got, want) {
		t.Fatalf("members of %s %q, want %q", group, got, want)
	}
}

// visible is all that a view shows.
type visible struct {
	Records []registry.Record
	Members map[string][]registry.Member
	Leases  []registry.Lease
}

func show(t testing.TB, r *registry.Registry) visible {
	t.Helper()
	out := visible{Records: r.List(), Leases: r.Leases(), Members: map[string][]registry.Member{}}
	for _, g := range r.Groups() {
		members, err := r.Members(g)
		ok(t, err)
		out.Members[g] = members
	}
	return out
}

// wantSame checks that views show the same.
func wantSame(t testing.TB, rs ...*registry.Registry) {
	t.Helper()
	eventually(t, "all views show the same", func() bool {
		together(t, rs...)
		first := show(t, rs[0])
		for _, r := range rs[1:] {
			if !reflect.DeepEqual(first, show(t, r)) {
				return false
			}
		}
		return true
	})
}
