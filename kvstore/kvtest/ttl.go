package kvtest

import (
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// late is how much later than its time a TTL may end: NATS looks every quarter of a second, and a test machine is busy.
const late = 5 * time.Second

var ttls = chapter{"ttl", []test{
	{"a key ends with its TTL, by an entry", func(t *testing.T, _ *Suite, s kvstore.Store) {
		f := follow(t, s, nil)
		rev, err := s.Create(within(t), "k", []byte("v"), 2*time.Second)
		ok(t, err)
		begun := time.Now()
		wantValue(t, s, "k", "v", rev)
		eventually(t, 2*time.Second+late, "k ends", func() bool { return f.entry("k").Operation == kvstore.Expire })
		if took := time.Since(begun); took < 1500*time.Millisecond {
			t.Fatalf("ended after %v", took)
		}
		wantNothing(t, s, "k")
		e := f.entry("k")
		if e.Revision != rev+1 || len(e.Value) != 0 {
			t.Fatalf("the end is %+v, want revision %d and no value", e, rev+1)
		}
		_, err = s.Create(within(t), "k", nil, 0)
		wantConflict(t, err, "k", 0, e.Revision)
		update(t, s, "k", "again", e.Revision)
	}},
	{"an update counts anew, and without a TTL ends it", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev, err := s.Create(within(t), "kept", nil, time.Second)
		ok(t, err)
		kept := update(t, s, "kept", "for ever", rev)
		rev, err = s.Create(within(t), "longer", nil, time.Second)
		ok(t, err)
		longer, err := s.Update(within(t), "longer", []byte("v"), rev, time.Minute)
		ok(t, err)
		_, err = s.Create(within(t), "clock", nil, 2*time.Second)
		ok(t, err)
		eventually(t, 2*time.Second+late, "clock ends", func() bool { return gone(t, s, "clock") })
		wantValue(t, s, "kept", "for ever", kept)
		wantValue(t, s, "longer", "v", longer)
	}},
	{"a TTL is rounded up to the whole second", func(t *testing.T, _ *Suite, s kvstore.Store) {
		begun := time.Now()
		_, err := s.Create(within(t), "k", nil, 1100*time.Millisecond)
		ok(t, err)
		_, err = s.Create(within(t), "tiny", nil, time.Nanosecond)
		ok(t, err)
		eventually(t, 2*time.Second+late, "both end", func() bool { return gone(t, s, "k") && gone(t, s, "tiny") })
		if took := time.Since(begun); took < 1900*time.Millisecond {
			t.Fatalf("ended after %v, want 2 s", took)
		}
	}},
	{"ops of a batch have their own TTLs", func(t *testing.T, _ *Suite, s kvstore.Store) {
		last, err := s.Batch(within(t), []kvstore.Op{{Key: "short", TTL: time.Second}, {Key: "long", Value: []byte("v")}})
		ok(t, err)
		eventually(t, time.Second+late, "short ends", func() bool { return gone(t, s, "short") })
		wantValue(t, s, "long", "v", last)
	}},
	{"a TTL below zero is refused", func(t *testing.T, _ *Suite, s kvstore.Store) {
		_, err := s.Create(within(t), "k", nil, -time.Second)
		wantError(t, err, kvstore.ErrBadTTL)
		_, err = s.Batch(within(t), []kvstore.Op{{Key: "a"}, {Key: "b", TTL: -1}})
		wantError(t, err, kvstore.ErrBadTTL)
		wantNothing(t, s, "k")
	}},
}}

func gone(t *testing.T, s kvstore.Store, key string) bool {
	t.Helper()
	list, _, err := s.List(within(t), key)
	ok(t, err)
	return len(list) == 0
}
