package registry_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// heldBatches is a store whose batches wait: before they are written, or before their writer hears of it.
type heldBatches struct {
	*kvstore.Memory
	armed         atomic.Bool
	before, after chan struct{}
}

func (h *heldBatches) Batch(ctx context.Context, ops []kvstore.Op) (kvstore.Revision, error) {
	if !h.armed.CompareAndSwap(true, false) {
		return h.Memory.Batch(ctx, ops)
	}
	<-h.before
	last, err := h.Memory.Batch(ctx, ops)
	<-h.after
	return last, err
}

// Who leaves the queue while its election is on its way either has left it, and does not hold the name, or is told that it was elected.
func TestWithdrawBesideElection(t *testing.T) {
	for _, first := range []string{"withdrawal", "election"} {
		t.Run(first+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &heldBatches{Memory: kvstore.NewMemory(nil), before: make(chan struct{}), after: make(chan struct{})}
				reg, err := registry.Open(ctx, store, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer reg.Close(context.Background())
				owner, waiting := newSession(t, reg), newSession(t, reg)
				held, err := owner.Register(ctx, "one", nil)
				if err != nil {
					t.Fatal(err)
				}
				place, err := waiting.StandBy(ctx, "one", nil)
				if err != nil {
					t.Fatal(err)
				}
				store.armed.Store(true)
				if err := held.Unregister(ctx); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the election is on its way
				if first == "election" {
					close(store.before)
				}
				synctest.Wait()
				left := make(chan error, 1)
				go func() { left <- place.Withdraw(ctx) }()
				synctest.Wait()
				if first == "withdrawal" {
					close(store.before)
				}
				close(store.after)
				if err := <-left; err != nil {
					t.Fatal(err)
				}
				got, elected := place.Elected()
				synctest.Wait()
				_, err = reg.Whereis("one")
				switch first {
				case "withdrawal":
					if elected || !errors.Is(err, registry.ErrNotFound) {
						t.Errorf("who has left the queue was elected: %v; whereis: %v", elected, err)
					}
				case "election":
					if !elected || err != nil {
						t.Fatalf("who was elected is told %v; whereis: %v", elected, err)
					}
					if err := got.Unregister(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
