package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// shareAmong shares a name among n sessions, each with one instance of it: i0 and so on.
func shareAmong(t *testing.T, reg *registry.Registry, name string, n int) (regs []*registry.Registration) {
	t.Helper()
	for i := range n {
		r, err := newSession(t, reg).Register(t.Context(), name, &registry.RegisterOptions{Digest: "d1", Instance: fmt.Sprintf("i%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		regs = append(regs, r)
	}
	return regs
}

// A removal of a shared name's record that was decided before a replica joined comes too late: it would take the name from one who serves it.
func TestShareJoinMovesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, reg := t.Context(), openMemory(t)
		first := shareAmong(t, reg, "shared", 1)[0]
		before, err := storeOf[reg].Get(ctx, "names.shared")
		if err != nil {
			t.Fatal(err)
		}
		token := first.Token()
		second, err := newSession(t, reg).Register(ctx, "shared", &registry.RegisterOptions{Digest: "d1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := storeOf[reg].Delete(ctx, "names.shared", nil, before.Revision); !errors.Is(err, kvstore.ErrConflict) {
			t.Errorf("a late removal: %v", err)
		}
		rec, err := reg.Whereis("shared")
		if err != nil || rec.Instance != "i0" || rec.Token != token || second.Token() != token {
			t.Errorf("after the second joined: %+v, %v; tokens %d and %d", rec, err, token, second.Token())
		}
	})
}

// A record that comes late in the name of one who serves a shared name no more goes to who does: the name is never gone.
func TestShareLateRecordIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, reg := t.Context(), openMemory(t)
		regs := shareAmong(t, reg, "shared", 3)
		token := regs[0].Token()
		if err := regs[1].Unregister(ctx); err != nil {
			t.Fatal(err)
		}
		down, err := reg.Monitor(ctx, "shared")
		if err != nil {
			t.Fatal(err)
		}
		e, err := storeOf[reg].Get(ctx, "names.shared")
		if err != nil {
			t.Fatal(err)
		}
		var record map[string]any
		if err := json.Unmarshal(e.Value, &record); err != nil {
			t.Fatal(err)
		}
		record["session"], record["instance"] = regs[1].Session().ID(), "i1"
		late, _ := json.Marshal(record)
		if _, err := storeOf[reg].Update(ctx, "names.shared", late, e.Revision, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // the owner tidies at his own pace
		if rec, err := reg.Whereis("shared"); err != nil || rec.Instance != "i0" || rec.Token != token {
			t.Errorf("after a late record: %+v, %v, want that of i0 with token %d", rec, err, token)
		}
		select {
		case d := <-down:
			t.Errorf("the name was gone: %v", d)
		default:
		}
	})
}

// What is shared is nobody's alone: not to give away, nor to claim alone by one of those who share it. What is said of it any of them may change.
func TestShareIsNobodysAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, reg := t.Context(), openMemory(t)
		regs := shareAmong(t, reg, "shared", 2)
		token := regs[0].Token()
		if err := regs[0].Transfer(ctx, newSession(t, reg).ID()); !errors.Is(err, registry.ErrShared) {
			t.Errorf("transfer: %v", err)
		}
		for i, r := range regs {
			if _, err := r.Session().Register(ctx, "shared", &registry.RegisterOptions{Instance: r.Instance()}); !errors.Is(err, registry.ErrNameTaken) {
				t.Errorf("claimed alone by replica %d: %v", i, err)
			}
			kind := fmt.Sprintf("k%d", i)
			if err := r.Update(ctx, func(rec *registry.Record) { rec.Kind = kind }); err != nil {
				t.Errorf("update by replica %d: %v", i, err)
			}
			if rec, err := reg.Whereis("shared"); err != nil || rec.Kind != kind || rec.Instance != "i0" || rec.Token != token {
				t.Errorf("after the update by replica %d: %+v, %v", i, rec, err)
			}
		}
		alone := newSession(t, reg)
		if _, err := alone.Register(ctx, "mine", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := alone.Register(ctx, "mine", &registry.RegisterOptions{Digest: "d1"}); !errors.Is(err, registry.ErrNameTaken) {
			t.Errorf("shared by who holds it alone: %v", err)
		}
		many, err := alone.RegisterMany(ctx, []registry.NameOptions{{Name: "many", RegisterOptions: registry.RegisterOptions{Digest: "d1"}}})
		if err != nil || many[0].Record().Digest != "" {
			t.Errorf("one of many is not shared: %+v, %v", many, err)
		}
	})
}

// What a later version said of a name stays when its owner, who is of this version, updates it.
func TestUpdateKeepsWhatItDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, reg := t.Context(), openMemory(t)
		r, err := newSession(t, reg).Register(ctx, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		e, err := storeOf[reg].Get(ctx, "names.a")
		if err != nil {
			t.Fatal(err)
		}
		later := append(e.Value[:len(e.Value)-1:len(e.Value)-1], `,"later":{"x":[1,2]}}`...)
		if _, err := storeOf[reg].Update(ctx, "names.a", later, e.Revision, 0); err != nil {
			t.Fatal(err)
		}
		if err := r.Update(ctx, func(rec *registry.Record) { rec.Kind = "new" }); err != nil {
			t.Fatal(err)
		}
		e, err = storeOf[reg].Get(ctx, "names.a")
		var got struct {
			Kind  string
			Token kvstore.Revision
			Later json.RawMessage
		}
		if err == nil {
			err = json.Unmarshal(e.Value, &got)
		}
		if err != nil || got.Kind != "new" || string(got.Later) != `{"x":[1,2]}` || got.Token != r.Token() {
			t.Errorf("after the update: %s, %v", e.Value, err)
		}
	})
}

// A reader without a view finds a shared name where its record's owner is dead and nobody has taken it over yet.
func TestLookupOfSharedName(t *testing.T) {
	ctx, store := t.Context(), kvstore.NewMemory(nil)
	for key, value := range map[string]string{
		"leases.B":      `{"session":"B"}`,
		"replicas.n.i2": `?`,
		"replicas.n.i0": `{"name":"n","session":"A","instance":"i0","digest":"d"}`,
		"replicas.n.i1": `{"name":"n","session":"B","instance":"i1","digest":"d"}`,
		"names.n":       `{"name":"n","session":"A","instance":"i0","digest":"d","token":1}`,
		"names.m":       `{"name":"m","session":"A","instance":"i0"}`,
	} {
		if _, err := store.Create(ctx, key, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	if rec, err := registry.Lookup(ctx, store, "n"); err != nil || rec.Session != "B" || rec.Instance != "i1" || rec.Token != 1 {
		t.Errorf("a living replica: %+v, %v", rec, err)
	}
	if _, err := registry.Lookup(ctx, store, "m"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("an owner that is dead: %v", err)
	}
	lease, err := store.Get(ctx, "leases.B")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Delete(ctx, "leases.B", nil, lease.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Lookup(ctx, store, "n"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("no replica lives: %v", err)
	}
}
