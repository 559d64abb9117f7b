package registry

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

// Answering the roll call looks at every session, and a session that refreshes its lease or tidies up asks its registry for a goroutine: neither may
// hold its own lock when it takes the other's.
func TestAnswerBesideRefresh(t *testing.T) {
	r, err := Open(t.Context(), kvstore.NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	var sessions []*Session
	for range 4 {
		s, err := r.NewSession(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for i := range 30_000 {
				r.answer(&pulse{revision: kvstore.Revision(1<<62) + kvstore.Revision(i), Keeper: "another"})
			}
		})
		for _, s := range sessions {
			wg.Go(func() {
				for range 30_000 {
					s.refresh()
					s.mu.Lock()
					s.dirty = true
					s.mu.Unlock()
					s.tidy()
				}
			})
		}
	}()
	select {
	case <-done:
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("they wait for each other")
	}
}

// A name that is taken away between the claim and the moment at which it is marked as held is lost, not held for ever.
func TestLostBeforeGot(t *testing.T) {
	store := kvstore.NewMemory(nil)
	r, err := Open(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	s, err := r.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := s.hold(nameKey("calc"))
	if err != nil {
		t.Fatal(err)
	}
	record := encode(nameRecord{Record: Record{Name: "calc", Session: s.id, Instance: s.id}, V: recordVersion})
	revision, err := store.Create(t.Context(), h.key, record, 0)
	if err != nil {
		t.Fatal(err)
	}
	if revision, err = store.Delete(t.Context(), h.key, nil, revision); err != nil {
		t.Fatal(err)
	}
	if err := r.WaitFor(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	h.got()
	if h.given.Load() || !errors.Is(h.error(), ErrLost) {
		t.Fatalf("held %v: %v", h.given.Load(), h.error())
	}
	if again, isNew, err := s.hold(h.key); err != nil || !isNew {
		t.Fatalf("the session still wants it: %v %v %v", again, isNew, err)
	}
}
