package kvstore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/kvstore/kvtest"
)

func TestMemoryContract(t *testing.T) {
	suite := &kvtest.Suite{
		Open:  func(*testing.T) kvstore.Store { return kvstore.NewMemory(nil) },
		In:    synctest.Test,
		Renew: func(_ *testing.T, s kvstore.Store) { s.(*kvstore.Memory).Reset() },
	}
	suite.Run(t)
}

func TestMemoryTombstonesVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := kvstore.NewMemory(nil)
		ctx := t.Context()
		rev, _ := m.Create(ctx, "k", nil, 0)
		rev, err := m.Delete(ctx, "k", []byte("why"), rev)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Create(ctx, "e", nil, time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(kvstore.TombstoneTTL - time.Second)
		if n := len(firstStep(t, m).Entries); n != 2 {
			t.Fatalf("%d entries, want both tombstones", n)
		}
		time.Sleep(3 * time.Second)
		step := firstStep(t, m)
		if len(step.Entries) != 0 || step.Revision != rev+2 {
			t.Fatalf("%+v: a tombstone vanishes without an entry", step)
		}
		if _, err := m.Create(ctx, "k", nil, 0); err != nil {
			t.Fatal(err)
		}
	})
}

// A refresh at the very instant of the end either loses and says so, or wins for good.
func TestMemoryRefreshAtTheEnd(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			m := kvstore.NewMemory(nil)
			rev, err := m.Create(t.Context(), "k", nil, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			time.AfterFunc(time.Second, func() {
				_, err := m.Update(t.Context(), "k", nil, rev, time.Minute)
				result <- err
			})
			time.Sleep(2 * time.Second)
			refreshed := <-result
			if _, err := m.Get(t.Context(), "k"); (err == nil) != (refreshed == nil) {
				t.Fatalf("refresh %v, then %v", refreshed, err)
			}
		})
	}
}

func TestMemoryPurgeByHand(t *testing.T) {
	m := kvstore.NewMemory(&kvstore.MemoryOptions{Metadata: map[string]string{"a": "b"}, FirstRevision: 7})
	rev, err := m.Create(t.Context(), "k", nil, time.Minute)
	if err != nil || rev != 7 {
		t.Fatalf("first revision %d, %v", rev, err)
	}
	if !m.Purge("k") || m.Purge("k") {
		t.Fatal("a key is purged once")
	}
	step := firstStep(t, m)
	if len(step.Entries) != 0 || step.Revision != 7 || step.Metadata["a"] != "b" {
		t.Fatalf("%+v", step)
	}
	m.Drop()
	if step := firstStep(t, m); step.Log != "" || step.Revision != 0 {
		t.Fatalf("%+v after the log was dropped", step)
	}
	if rev, err := m.Create(t.Context(), "k", nil, 0); err != nil || rev <= 7 {
		t.Fatalf("the new log begins at %d, %v", rev, err)
	}
}

// firstStep is a fresh watch's snapshot.
func firstStep(t *testing.T, s kvstore.Store) kvstore.Step {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for step, err := range s.Watch(ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		return step
	}
	t.Fatal("no step")
	return kvstore.Step{}
}
