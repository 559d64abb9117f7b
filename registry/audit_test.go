package registry_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// An audit finds what was written by hand, what another tool keeps there and what the dead have left; Sweep removes the last, and nothing that has moved since.
func TestAudit(t *testing.T) {
	store := kvstore.NewMemory(nil)
	reg, err := registry.Open(t.Context(), store, &registry.Options{Role: registry.Never})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close(t.Context())
	s, err := reg.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Register(t.Context(), "calc", &registry.RegisterOptions{Groups: []string{"tools"}}); err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) kvstore.Revision {
		t.Helper()
		rev, err := store.Create(t.Context(), key, []byte(value), 0)
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	put("names.torn", `{"name":"torn","session`)
	put("names.weather", `{"name":"another","session":"x"}`)
	put("mine.thing", "x")
	put("names.left", `{"name":"left","node":"n","session":"dead","instance":"dead","v":1}`)
	moved := put("names.moved", `{"name":"moved","node":"n","session":"dead","instance":"dead","v":1}`)

	snap, err := registry.Load(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	a := snap.Audit()
	keys := func(list []registry.Oddity) (out []string) {
		for _, o := range list {
			if out = append(out, o.Key); o.Why == "" || o.Revision == 0 {
				t.Errorf("%s says too little: %+v", o.Key, o)
			}
		}
		return out
	}
	for _, c := range []struct {
		what       string
		have, want []string
	}{
		{"bad", keys(a.Bad), []string{"names.torn", "names.weather"}},
		{"foreign", keys(a.Foreign), []string{"mine.thing"}},
		{"orphans", keys(a.Orphans), []string{"names.left", "names.moved"}},
	} {
		if !slices.Equal(c.have, c.want) {
			t.Errorf("%s: %v, not %v", c.what, c.have, c.want)
		}
	}

	// Somebody claims one of them before the sweep comes.
	if _, err := store.Update(t.Context(), "names.moved", []byte(`{"name":"moved","node":"n","session":"`+s.ID()+`","instance":"i","v":1}`), moved, time.Minute); err != nil {
		t.Fatal(err)
	}
	if n, err := registry.Sweep(t.Context(), store, a.Orphans); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if _, err := store.Get(t.Context(), "names.left"); !errors.Is(err, kvstore.ErrNotFound) {
		t.Errorf("the orphan is still there: %v", err)
	}
	if _, err := store.Get(t.Context(), "names.moved"); err != nil {
		t.Errorf("what was claimed since is gone: %v", err)
	}
	if names := reg.Names(); !slices.Contains(names, "calc") {
		t.Errorf("the living name is gone: %v", names)
	}
}
