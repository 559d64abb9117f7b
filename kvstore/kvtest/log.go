package kvtest

import (
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

var logs = chapter{"log", []test{
	{"nobody has made it, then somebody does", func(t *testing.T, x *Suite, s kvstore.Store) {
		f := follow(t, x.again(t, s), nil)
		first := f.all()[0]
		if first.Revision != 0 || first.Log != "" || len(first.Entries) != 0 {
			t.Fatalf("snapshot of no log: %+v", first)
		}
		rev := create(t, s, "k", "v")
		f.reach(rev)
		second := f.all()[1]
		if second.Kind != kvstore.Snapshot || second.Log == "" {
			t.Fatalf("the second step is %+v", second)
		}
		if e := f.entry("k"); e.Revision != rev || string(e.Value) != "v" {
			t.Fatalf("k is %+v", e)
		}
	}},
	{"every watch calls it the same", func(t *testing.T, x *Suite, s kvstore.Store) {
		rev := create(t, s, "k", "v")
		a, b := follow(t, s, nil), follow(t, x.again(t, s), nil)
		rev = update(t, s, "k", "w", rev)
		a.reach(rev)
		b.reach(rev)
		if a.last().Log != b.last().Log || a.last().Log != a.all()[0].Log {
			t.Fatalf("%q and %q", a.last().Log, b.last().Log)
		}
	}},
	{"made anew, it has another name and higher revisions", func(t *testing.T, x *Suite, s kvstore.Store) {
		if x.Renew == nil {
			t.Skip("this backend cannot")
		}
		old := create(t, s, "old", "")
		checks := make(chan kvstore.Check, 1)
		f := follow(t, s, &kvstore.WatchOptions{Check: checks})
		name := f.last().Log
		x.Renew(t, s)
		rev := create(t, s, "new", "")
		if rev <= old {
			t.Fatalf("revision %d after %d", rev, old)
		}
		f.reach(rev)
		steps := f.all()
		for i, step := range steps[1:] {
			if step.Log != steps[i].Log && step.Kind != kvstore.Snapshot {
				t.Fatalf("the log changed by %+v", step)
			}
		}
		if last := f.last(); last.Log == name || last.Log == "" {
			t.Fatalf("log %q after %q", last.Log, name)
		}
		if _, had := f.state()["old"]; had {
			t.Fatal("a key of the old log is still there")
		}
		wantNothing(t, s, "old")
	}},
}}
