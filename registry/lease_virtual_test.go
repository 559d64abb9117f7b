package registry_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/registry/registrytest"
)

func wantReason(t *testing.T, s *registry.Session, reason registry.Reason) {
	t.Helper()
	synctest.Wait()
	ended, ok := errors.AsType[*registry.SessionEndedError](s.Err())
	if !ok || ended.Reason != reason || s.Valid() {
		t.Fatalf("%v, valid %v; want the end: %s", s.Err(), s.Valid(), reason)
	}
	select {
	case <-s.Done():
	default:
		t.Fatal("not done")
	}
}

// A lease is written again every five minutes or a little sooner, and no more often.
func TestVirtualLeaseRefreshed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		reg := own(t, p, registry.Strict, "calc")
		time.Sleep(2 * time.Hour)
		var last time.Time
		writes := w.written("leases.")
		for i, e := range writes {
			if gap := e.at.Sub(last); i > 0 && (gap < 3*time.Minute || gap > 5*time.Minute+time.Second) {
				t.Fatalf("written %v after the one before", gap)
			}
			last = e.at
		}
		t.Logf("%d writes in two hours", len(writes))
		wantAlive(t, time.Second, reg)
	})
}

// A lease that could not be written for ten minutes is not written any more: the store's own expiry could overtake it. The session ends, and its owner
// opens another.
func TestVirtualLeaseTooOld(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		opened := time.Now()
		refused := true
		p.Store.OnWrite(func(ops []kvstore.Op) registrytest.Fate {
			if refused && len(ops) == 1 && strings.HasPrefix(ops[0].Key, "leases.") && !ops[0].Delete && ops[0].Revision != 0 {
				if time.Since(opened) > 10*time.Minute+time.Second {
					t.Errorf("a write of the lease at the age of %v", time.Since(opened))
				}
				return registrytest.Fate{Err: kvstore.ErrUnavailable}
			}
			return registrytest.Fate{}
		})
		<-reg.Session().Done()
		if age := time.Since(opened); age < 9*time.Minute || age > 10*time.Minute+2*time.Second {
			t.Fatalf("ended at the age of %v", age)
		}
		wantReason(t, reg.Session(), registry.ReasonLeaseAge)
		time.Sleep(time.Second)
		if len(p.Leases()) != 0 {
			t.Fatal("its lease is still there")
		}
		own(t, p, registry.Service, "calc")
	})
}

// The lease's own TTL empties a scope in which nobody of ours is left.
func TestVirtualDeadScopeEmptiesItself(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 3 {
			p := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
			own(t, p, registry.Strict, "n"+strings.ToLower(p.Node())+time.Now().Format("150405"))
			settle()
			defer p.Kill()
			p.Kill()
		}
		reader := w.Start(t, &registrytest.ProcessOptions{Role: registry.Never})
		began := time.Now()
		if len(reader.Names()) == 0 {
			t.Fatal("nothing to lose")
		}
		down, err := reader.Monitor(t.Context(), reader.Names()[len(reader.Names())-1])
		if err != nil {
			t.Fatal(err)
		}
		if d := <-down; d.Reason != registry.ReasonExpired {
			t.Fatalf("%+v", d)
		}
		t.Logf("the last name is gone after %v", time.Since(began))
		if took := time.Since(began); took > 15*time.Minute+time.Second || len(reader.Names()) != 0 || len(reader.Leases()) != 0 {
			t.Fatalf("%v: %q", took, reader.Names())
		}
	})
}

// A bucket that is deleted, or deleted and made anew, ends every session; owners open new ones and claim again, and no token falls.
func TestVirtualNewLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w *world)
	}{
		{"made anew", func(w *world) { w.Log.Reset() }},
		{"deleted", func(w *world) { w.Log.Drop() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
				p := w.Start(t, nil)
				reg := own(t, p, registry.Service, "calc")
				settle()
				down, err := k.Monitor(t.Context(), "calc")
				if err != nil {
					t.Fatal(err)
				}
				tt.end(w)
				synctest.Wait()
				wantReason(t, reg.Session(), registry.ReasonNewLog)
				if d := <-down; d.Reason != registry.ReasonNewLog {
					t.Fatalf("%+v", d)
				}
				again := own(t, p, registry.Service, "calc")
				if again.Token() <= reg.Token() {
					t.Fatalf("token %d after %d", again.Token(), reg.Token())
				}
				settle()
				wantAlive(t, 20*time.Second, again)
				if b := w.lastPulse(t); b.Leases != 1 {
					t.Fatalf("%+v", b)
				}
			})
		})
	}
}

// A log that was made anew and already has the same lease in it, as one that was restored from a copy: that lease is nobody's, and goes.
func TestVirtualRestoredLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		settle()
		id := reg.Session().ID()
		lease, name := w.lease(t, id), w.written("names.")[0]
		k.Store.Freeze()
		p.Store.Freeze()
		w.Log.Reset()
		for _, e := range []kvstore.Entry{lease, name.Entry} {
			if _, err := w.Log.Create(t.Context(), e.Key, e.Value, 15*time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		k.Store.Gap()
		p.Store.Gap()
		k.Store.Thaw()
		p.Store.Thaw()
		time.Sleep(10 * time.Second)
		wantReason(t, reg.Session(), registry.ReasonNewLog)
		if len(k.Names()) != 0 || len(k.Leases()) != 0 {
			t.Fatalf("%q, %+v", k.Names(), k.Leases())
		}
	})
}

// Somebody deletes a lease by hand: the session ends at once.
func TestVirtualLeaseDeletedByHand(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Strict, "calc")
		settle()
		e := w.lease(t, reg.Session().ID())
		if _, err := w.Log.Delete(t.Context(), e.Key, nil, e.Revision); err != nil {
			t.Fatal(err)
		}
		wantReason(t, reg.Session(), registry.ReasonRemoved)
		if reg.Err() == nil || reg.Serving() || len(p.Names()) != 0 {
			t.Fatal("the name is still held")
		}
		time.Sleep(time.Second)
		if _, there := p.Lease(reg.Session().ID()); there {
			t.Fatal("the lease is back")
		}
	})
}

// Somebody writes over a lease by hand, with the session's own words: it goes on.
func TestVirtualLeaseWrittenByHand(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Start(t, &registrytest.ProcessOptions{Role: registry.Node})
		p := w.Start(t, nil)
		reg := own(t, p, registry.Service, "calc")
		settle()
		e := w.lease(t, reg.Session().ID())
		if _, err := w.Log.Update(t.Context(), e.Key, e.Value, e.Revision, time.Hour); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, 20*time.Minute, reg)
	})
}
