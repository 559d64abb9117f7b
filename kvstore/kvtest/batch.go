package kvtest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

var batches = chapter{"batch", []test{
	{"all ops, in order, contiguous", func(t *testing.T, _ *Suite, s kvstore.Store) {
		old := create(t, s, "b", "old")
		dead := create(t, s, "c", "old")
		last, err := s.Batch(within(t), []kvstore.Op{
			{Key: "a", Value: []byte("new")},
			{Key: "b", Value: []byte("newer"), Revision: old},
			{Key: "c", Value: []byte("why"), Revision: dead, Delete: true},
		})
		ok(t, err)
		if last != dead+3 {
			t.Fatalf("last revision %d, want %d", last, dead+3)
		}
		wantValue(t, s, "a", "new", last-2)
		wantValue(t, s, "b", "newer", last-1)
		wantNothing(t, s, "c")
	}},
	{"none where one is refused", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev := create(t, s, "b", "old")
		_, err := s.Batch(within(t), []kvstore.Op{{Key: "a"}, {Key: "b"}, {Key: "c"}})
		wantError(t, err, kvstore.ErrConflict)
		if c, _ := errors.AsType[*kvstore.ConflictError](err); c.Actual != rev {
			t.Fatalf("actual revision %d, want %d", c.Actual, rev)
		}
		wantNothing(t, s, "a")
		wantNothing(t, s, "c")
		wantValue(t, s, "b", "old", rev)
		if next := create(t, s, "d", ""); next != rev+1 {
			t.Fatalf("a refused batch took %d revisions", next-rev-1)
		}
	}},
	{"one op", func(t *testing.T, _ *Suite, s kvstore.Store) {
		rev, err := s.Batch(within(t), []kvstore.Op{{Key: "a", Value: []byte("v")}})
		ok(t, err)
		wantValue(t, s, "a", "v", rev)
		_, err = s.Batch(within(t), []kvstore.Op{{Key: "a"}})
		wantConflict(t, err, "a", 0, rev)
	}},
	{"as many ops as are allowed", func(t *testing.T, _ *Suite, s kvstore.Store) {
		f := follow(t, s, nil)
		ops := make([]kvstore.Op, kvstore.MaxBatch)
		for i := range ops {
			ops[i] = kvstore.Op{Key: fmt.Sprintf("k.%d", i), Value: []byte("v")}
		}
		last, err := s.Batch(within(t), ops)
		ok(t, err)
		f.reach(last)
		for i := range ops {
			if e := f.entry(ops[i].Key); e.Revision != last-kvstore.Revision(len(ops)-1-i) {
				t.Fatalf("op %d is at %d of %d", i, e.Revision, last)
			}
		}
		_, err = s.Batch(within(t), append(ops, kvstore.Op{Key: "more"}))
		wantError(t, err, kvstore.ErrBatchTooLarge)
	}},
	{"what cannot be a batch", func(t *testing.T, _ *Suite, s kvstore.Store) {
		for _, tt := range []struct {
			ops  []kvstore.Op
			want error
		}{
			{nil, kvstore.ErrEmptyBatch},
			{[]kvstore.Op{{Key: "a"}, {Key: "a"}}, kvstore.ErrBadKey},
			{[]kvstore.Op{{Key: "a"}, {Key: "b c"}}, kvstore.ErrBadKey},
			{[]kvstore.Op{{Key: "a"}, {Key: "b", Delete: true}}, kvstore.ErrBadRevision},
			{[]kvstore.Op{{Key: "a"}, {Key: "b", Value: make([]byte, kvstore.MaxValue+1)}}, kvstore.ErrTooLarge},
		} {
			_, err := s.Batch(within(t), tt.ops)
			wantError(t, err, tt.want)
		}
		wantNothing(t, s, "a")
	}},
	{"a batch is refused where there is no log for its revisions", func(t *testing.T, _ *Suite, s kvstore.Store) {
		_, err := s.Batch(within(t), []kvstore.Op{{Key: "a"}, {Key: "b", Revision: 5}})
		wantError(t, err, kvstore.ErrConflict)
		wantNothing(t, s, "a")
	}},
}}
