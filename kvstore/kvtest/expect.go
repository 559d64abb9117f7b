package kvtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// patience is how long anything may take that has no time of its own in the contract.
const patience = 20 * time.Second

// within gives a test's calls an end.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok is true.
func eventually(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// wantConflict checks a refused write. A store may not know what is there while another write is in flight; here none is.
func wantConflict(t *testing.T, err error, key string, expected, actual kvstore.Revision) {
	t.Helper()
	c, is := errors.AsType[*kvstore.ConflictError](err)
	if !is || !errors.Is(err, kvstore.ErrConflict) {
		t.Fatalf("error %v, want a conflict", err)
	}
	if c.Key != key || c.Expected != expected || c.Actual != actual {
		t.Fatalf("conflict %+v, want key %q expected %d actual %d", *c, key, expected, actual)
	}
}

func create(t *testing.T, s kvstore.Store, key, value string) kvstore.Revision {
	t.Helper()
	rev, err := s.Create(within(t), key, []byte(value), 0)
	ok(t, err)
	return rev
}

func update(t *testing.T, s kvstore.Store, key, value string, rev kvstore.Revision) kvstore.Revision {
	t.Helper()
	rev, err := s.Update(within(t), key, []byte(value), rev, 0)
	ok(t, err)
	return rev
}

func remove(t *testing.T, s kvstore.Store, key, reason string, rev kvstore.Revision) kvstore.Revision {
	t.Helper()
	rev, err := s.Delete(within(t), key, []byte(reason), rev)
	ok(t, err)
	return rev
}

// wantValue checks what is under a key.
func wantValue(t *testing.T, s kvstore.Store, key, value string, rev kvstore.Revision) {
	t.Helper()
	e, err := s.Get(within(t), key)
	ok(t, err)
	if e.Key != key || string(e.Value) != value || e.Revision != rev || e.Operation != kvstore.Put {
		t.Fatalf("%q is %+v, want %q at %d", key, e, value, rev)
	}
	if age := time.Since(e.Time); age > time.Hour || age < -time.Hour {
		t.Fatalf("%q was written at %v", key, e.Time)
	}
}

func wantNothing(t *testing.T, s kvstore.Store, key string) {
	t.Helper()
	_, err := s.Get(within(t), key)
	wantError(t, err, kvstore.ErrNotFound)
}
