package registry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

type bubbleClock struct{ start time.Time }

func (c bubbleClock) Boot() time.Duration { return time.Since(c.start) }
func (c bubbleClock) Wall() time.Time     { return time.Now() }

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := kvstore.NewMemory(&kvstore.MemoryOptions{Metadata: map[string]string{MetadataTTL: "6s"}})
		r, err := Open(ctx, store, &Options{Clock: bubbleClock{time.Now()}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.NewSession(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		reg, err := s.Register(ctx, "Calculator", &RegisterOptions{Groups: []string{"tools"}})
		if err != nil {
			t.Fatal(err)
		}
		if !reg.Serving() {
			t.Error("not serving")
		}
		s2, _ := r.NewSession(ctx, nil)
		_, err = s2.Register(ctx, "calculator", nil)
		t.Log(err)
		if !errors.Is(err, ErrNameTaken) {
			t.Fatal(err)
		}
		for range 100 {
			time.Sleep(10 * time.Second)
			if !reg.Serving() || s2.Err() != nil {
				t.Fatal("lost", s.Err(), s2.Err())
			}
		}
		t.Log(r.Age())
		l, _ := r.Lease(s.ID())
		t.Log(l.Attempt)
		down, _ := r.Monitor(ctx, "calculator")
		if err := reg.Unregister(ctx); err != nil {
			t.Fatal(err)
		}
		t.Log(<-down, r.Names(), r.Groups())
		if _, err = s2.Register(ctx, "calculator", nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		es, _, _ := store.List(ctx, "")
		for _, e := range es {
			t.Log(e.Key, string(e.Value))
		}
	})
}
