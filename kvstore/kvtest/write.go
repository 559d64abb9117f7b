package kvtest

import (
	"context"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

var writes = chapter{"write", []test{
	{"create only where nothing is", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := create(t, s, "names.calc", "one")
		wantValue(t, s, "names.calc", "one", rev)
		_, err := s.Create(within(t), "names.calc", []byte("two"), 0)
		wantConflict(t, err, "names.calc", 0, rev)
		wantValue(t, s, "names.calc", "one", rev)
	}},
	{"create does not walk over a tombstone", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := remove(t, s, "k", "gone", create(t, s, "k", "v"))
		_, err := s.Create(within(t), "k", nil, 0)
		wantConflict(t, err, "k", 0, rev)
		wantNothing(t, s, "k")
	}},
	{"update at the newest revision only", func(t *testing.T, _ *Suite, s kvstore.Store) {
		first := create(t, s, "k", "one")
		second := update(t, s, "k", "two", first)
		if second <= first {
			t.Fatalf("revision %d after %d", second, first)
		}
		_, err := s.Update(within(t), "k", []byte("three"), first, 0)
		wantConflict(t, err, "k", first, second)
		wantValue(t, s, "k", "two", second)
	}},
	{"update of what is not there", func(t *testing.T, _ *Suite, s kvstore.Store) {
		_, err := s.Update(within(t), "k", nil, 7, 0)
		wantConflict(t, err, "k", 7, 0)
		rev := create(t, s, "other", "v")
		_, err = s.Update(within(t), "k", nil, rev, 0)
		wantConflict(t, err, "k", rev, 0)
	}},
	{"update over a tombstone", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := remove(t, s, "k", "gone", create(t, s, "k", "one"))
		rev = update(t, s, "k", "two", rev)
		wantValue(t, s, "k", "two", rev)
	}},
	{"delete at the newest revision only", func(t *testing.T, _ *Suite, s kvstore.Store) {
		first := create(t, s, "k", "one")
		second := update(t, s, "k", "two", first)
		_, err := s.Delete(within(t), "k", nil, first)
		wantConflict(t, err, "k", first, second)
		third := remove(t, s, "k", "why", second)
		wantNothing(t, s, "k")
		_, err = s.Delete(within(t), "k", nil, second)
		wantConflict(t, err, "k", second, third)
		_, err = s.Delete(within(t), "nothing", nil, second)
		wantConflict(t, err, "nothing", second, 0)
	}},
	{"revisions are contiguous over all keys", func(t *testing.T, _ *Suite, s kvstore.Store) {
		a := create(t, s, "a", "")
		b := create(t, s, "b", "")
		_, err := s.Create(within(t), "b", nil, 0)
		wantError(t, err, kvstore.ErrConflict) // a refused write takes no revision
		a2 := update(t, s, "a", "", a)
		b2 := remove(t, s, "b", "", b)
		if b != a+1 || a2 != b+1 || b2 != a2+1 {
			t.Fatalf("revisions %d %d %d %d", a, b, a2, b2)
		}
	}},
	{"a lone writer is never refused", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "")
		for range 1000 {
			if next := update(t, s, "k", "", rev); next != rev+1 {
				t.Fatalf("revision %d after %d", next, rev)
			} else {
				rev = next
			}
		}
	}},
	{"a log begins at the Unix time in milliseconds times 1000", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "")
		age := time.Since(time.UnixMilli(int64(rev / 1000)))
		if age < -time.Minute || age > time.Minute {
			t.Fatalf("first revision %d is %v old", rev, age)
		}
	}},
	{"a caller may change its value after the write", func(t *testing.T, _ *Suite, s kvstore.Store) {
		value := []byte("kept")
		rev, err := s.Create(within(t), "k", value, 0)
		ok(t, err)
		copy(value, "lost")
		wantValue(t, s, "k", "kept", rev)
	}},
	{"nothing is written after the context's end", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "v")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Update(ctx, "k", []byte("w"), rev, 0)
		wantError(t, err, context.Canceled)
		wantError(t, err, kvstore.ErrUnavailable)
		_, err = s.Batch(ctx, []kvstore.Op{{Key: "a"}, {Key: "b"}})
		wantError(t, err, context.Canceled)
		_, err = s.Barrier(ctx)
		wantError(t, err, context.Canceled)
		wantValue(t, s, "k", "v", rev)
		wantNothing(t, s, "a")
	}},
}}
