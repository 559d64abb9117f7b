package kvtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

var watches = chapter{"watch", []test{
	{"a snapshot, then every entry", func(t *testing.T, x *Suite, s kvstore.Store) {
		dead := remove(t, s, "dead", "why", create(t, s, "dead", ""))
		old := create(t, s, "old", "value")
		f := follow(t, x.again(t, s), nil)
		first := f.all()[0]
		if len(first.Entries) != 2 || first.Revision != old || first.Log == "" {
			t.Fatalf("snapshot %+v", first)
		}
		if e := f.entry("dead"); e.Revision != dead || e.Operation != kvstore.Delete || string(e.Value) != "why" {
			t.Fatalf("tombstone %+v", e)
		}
		rev := create(t, s, "new", "v")
		rev = update(t, s, "new", "w", rev)
		f.reach(rev)
		rev = remove(t, s, "new", "reason", rev)
		f.reach(rev)
		if e := f.entry("new"); e.Operation != kvstore.Delete || string(e.Value) != "reason" || e.Revision != rev {
			t.Fatalf("tombstone %+v", e)
		}
		if n := f.count(kvstore.Append); n != 3 || f.count(kvstore.Snapshot) != 1 {
			t.Fatalf("%d appends, %d snapshots", n, f.count(kvstore.Snapshot))
		}
	}},
	{"a batch is one step", func(t *testing.T, x *Suite, s kvstore.Store) {
		create(t, s, "first", "")
		f := follow(t, x.again(t, s), nil)
		last, err := s.Batch(within(t), []kvstore.Op{{Key: "a"}, {Key: "b"}, {Key: "c"}})
		ok(t, err)
		f.reach(last)
		if step := f.last(); step.Kind != kvstore.Append || len(step.Entries) != 3 {
			t.Fatalf("step %+v", step)
		}
	}},
	{"a prefix keeps the revisions of the whole log", func(t *testing.T, x *Suite, s kvstore.Store) {
		create(t, s, "names.a", "")
		create(t, s, "other.a", "")
		f := follow(t, x.again(t, s), &kvstore.WatchOptions{Prefix: "names."})
		if first := f.all()[0]; len(first.Entries) != 1 {
			t.Fatalf("snapshot %+v", first)
		}
		f.reach(create(t, s, "other.b", ""))
		if step := f.last(); step.Kind != kvstore.Append || len(step.Entries) != 0 {
			t.Fatalf("step %+v", step)
		}
		last, err := s.Batch(within(t), []kvstore.Op{{Key: "names.b"}, {Key: "other.c"}})
		ok(t, err)
		f.reach(last)
		if step := f.last(); len(step.Entries) != 1 || step.Entries[0].Key != "names.b" {
			t.Fatalf("step %+v", step)
		}
	}},
	{"it ends with its context, without an error", func(t *testing.T, _ *Suite, s kvstore.Store) {
		create(t, s, "k", "")
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		for step, err := range s.Watch(ctx, nil) {
			ok(t, err)
			steps++
			if step.Kind == kvstore.Snapshot {
				cancel()
			}
		}
		for range s.Watch(ctx, nil) {
			t.Fatal("a step after the end")
		}
		cancel()
		if steps != 1 {
			t.Fatalf("%d steps", steps)
		}
	}},
	{"leaving the loop ends it", func(t *testing.T, _ *Suite, s kvstore.Store) {
		create(t, s, "k", "")
		for range 3 {
			for step, err := range s.Watch(within(t), nil) {
				ok(t, err)
				if step.Kind != kvstore.Snapshot {
					t.Fatalf("step %+v", step)
				}
				break
			}
		}
	}},
	{"who is slow gets a snapshot", func(t *testing.T, x *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "")
		f := follow(t, x.again(t, s), nil)
		f.shut()
		rev = update(t, s, "k", "", rev)
		// More than any buffer holds: batches of a thousand make it cheap.
		for i := range 12 {
			ops := make([]kvstore.Op, kvstore.MaxBatch)
			for j := range ops {
				ops[j] = kvstore.Op{Key: fmt.Sprintf("bulk.%d.%d", i, j)}
			}
			_, err := s.Batch(within(t), ops)
			ok(t, err)
		}
		for range 1500 {
			rev = update(t, s, "k", "", rev)
		}
		f.open()
		f.reach(rev)
		if f.count(kvstore.Snapshot) < 2 {
			t.Fatalf("%d snapshots, %d appends", f.count(kvstore.Snapshot), f.count(kvstore.Append))
		}
		if e := f.entry("k"); e.Revision != rev || len(f.state()) != 12*kvstore.MaxBatch+1 && !strings.HasPrefix(e.Key, "barrier.") {
			t.Fatalf("%d keys, k at %d of %d", len(f.state()), e.Revision, rev)
		}
	}},
	{"a check of all makes a snapshot, one of the tail need not", func(t *testing.T, x *Suite, s kvstore.Store) {
		create(t, s, "k", "")
		checks := make(chan kvstore.Check, 8)
		f := follow(t, x.again(t, s), &kvstore.WatchOptions{Check: checks})
		checks <- kvstore.CheckTail
		f.reach(create(t, s, "l", ""))
		checks <- kvstore.CheckAll
		eventually(t, patience, "a second snapshot", func() bool { return f.count(kvstore.Snapshot) == 2 })
		f.reach(create(t, s, "m", ""))
		for range 8 {
			checks <- kvstore.CheckTail
		}
		close(checks)
		f.reach(create(t, s, "n", ""))
	}},
	{"several watches see the same", func(t *testing.T, x *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "0")
		a, b := follow(t, s, nil), follow(t, x.again(t, s), nil)
		for i := range 20 {
			rev = update(t, s, "k", fmt.Sprint(i), rev)
		}
		c := follow(t, x.again(t, s), nil)
		for _, f := range []*follower{a, b, c} {
			f.reach(rev)
			if e := f.entry("k"); string(e.Value) != "19" || e.Revision != rev || time.Since(e.Time) > time.Hour {
				t.Fatalf("k is %+v", e)
			}
		}
	}},
}}
