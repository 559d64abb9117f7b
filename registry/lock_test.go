package registry

import (
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
