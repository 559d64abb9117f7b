package kvtest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

var reads = chapter{"read", []test{
	{"a log that nobody has made", func(t *testing.T, _ *Suite, s kvstore.Store) {
		wantNothing(t, s, "k")
		list, rev, err := s.List(within(t), "")
		ok(t, err)
		if len(list) != 0 || rev != 0 {
			t.Fatalf("%d entries at %d", len(list), rev)
		}
	}},
	{"get of a bad key", func(t *testing.T, _ *Suite, s kvstore.Store) {
		_, err := s.Get(within(t), "a.>")
		wantError(t, err, kvstore.ErrBadKey)
	}},
	{"list by prefix, sorted, without tombstones", func(t *testing.T, _ *Suite, s kvstore.Store) {
		for _, key := range []string{"names.c", "names.a", "namesake", "names.b", "leases.x"} {
			create(t, s, key, "value of "+key)
		}
		b, err := s.Get(within(t), "names.b")
		ok(t, err)
		last := remove(t, s, "names.b", "", b.Revision)
		for _, tt := range []struct {
			prefix string
			want   []string
		}{
			{"", []string{"leases.x", "names.a", "names.c", "namesake"}},
			{"names", []string{"names.a", "names.c", "namesake"}},
			{"names.", []string{"names.a", "names.c"}},
			{"none", nil},
			{"a b>", nil},
		} {
			list, rev, err := s.List(within(t), tt.prefix)
			ok(t, err)
			var keys []string
			for _, e := range list {
				keys = append(keys, e.Key)
				if string(e.Value) != "value of "+e.Key || e.Revision == 0 || e.Operation != kvstore.Put {
					t.Fatalf("%+v", e)
				}
			}
			if !slices.Equal(keys, tt.want) || rev != last {
				t.Fatalf("prefix %q: %v at %d, want %v at %d", tt.prefix, keys, rev, tt.want, last)
			}
		}
	}},
	{"a list has all that was acknowledged", func(t *testing.T, x *Suite, s kvstore.Store) {
		reader := x.again(t, s)
		for i := range 50 {
			rev := create(t, s, fmt.Sprintf("k.%d", i), "")
			list, at, err := reader.List(within(t), "")
			ok(t, err)
			if len(list) != i+1 || at != rev {
				t.Fatalf("%d entries at %d, want %d at %d", len(list), at, i+1, rev)
			}
		}
	}},
}}
