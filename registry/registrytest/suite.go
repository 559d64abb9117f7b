package registrytest

import (
	"context"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

// Bed is one empty scope, made for one test.
type Bed struct {
	// Open starts one more process of the scope. Processes are spread over the servers that there are. way, where it is not nil, is put between the
	// process and its store. Who opens closes with the test.
	Open func(t testing.TB, way func(kvstore.Store) kvstore.Store) *registry.Registry
}

// Suite is the contract, to be run on one kind of bed.
type Suite struct {
	// Make makes a bed.
	Make func(t *testing.T) Bed
	// In, if set, runs each test, for example in a synctest bubble. Else tests run in parallel.
	In func(t *testing.T, test func(t *testing.T))
}

// Run runs the whole contract on the beds that open makes.
func Run(t *testing.T, open func(t *testing.T) Bed) {
	(&Suite{Make: open}).Run(t)
}

type chapter struct {
	name  string
	tests []test
}

type test struct {
	name string
	run  func(t *testing.T, b *Bed)
}

// Run runs every chapter.
func (x *Suite) Run(t *testing.T) {
	for _, c := range []chapter{names, claims, groups, sessions, watches, monitors, reads, updates, unknowns, replaces, shares, properties, counters, history, choosing, exclusive, queries, waits, resumes, traps} {
		t.Run(c.name, func(t *testing.T) {
			for _, tt := range c.tests {
				t.Run(tt.name, func(t *testing.T) {
					if x.In == nil {
						t.Parallel()
						b := x.Make(t)
						tt.run(t, &b)
						return
					}
					x.In(t, func(t *testing.T) {
						b := x.Make(t)
						tt.run(t, &b)
					})
				})
			}
		})
	}
}

// registries opens n processes and waits until their views are loaded.
func (b *Bed) registries(t *testing.T, n int) []*registry.Registry {
	t.Helper()
	out := make([]*registry.Registry, n)
	for i := range out {
		out[i] = b.Open(t, nil)
	}
	for _, r := range out {
		ok(t, r.WaitSynced(within(t)))
	}
	return out
}

// one opens one process.
func (b *Bed) one(t *testing.T) *registry.Registry {
	t.Helper()
	return b.registries(t, 1)[0]
}

// faulty opens one process whose way to the log can be made to fail.
func (b *Bed) faulty(t *testing.T) (*registry.Registry, *Store) {
	t.Helper()
	var way *Store
	r := b.Open(t, func(s kvstore.Store) kvstore.Store {
		way = NewStore(s)
		return way
	})
	ok(t, r.WaitSynced(within(t)))
	return r, way
}

// session opens a session.
func session(t testing.TB, r *registry.Registry) *registry.Session {
	t.Helper()
	s, err := r.NewSession(within(t), nil)
	ok(t, err)
	return s
}

// register claims a name that has to be free.
func register(t testing.TB, s *registry.Session, name string, opts *registry.RegisterOptions) *registry.Registration {
	t.Helper()
	reg, err := s.Register(within(t), name, opts)
	ok(t, err)
	return reg
}

// join joins a group.
func join(t testing.TB, s *registry.Session, group, instance string) *registry.Membership {
	t.Helper()
	m, err := s.Join(within(t), group, &registry.JoinOptions{Instance: instance})
	ok(t, err)
	return m
}

// together brings every view to the newest revision that any of them has.
func together(t testing.TB, rs ...*registry.Registry) {
	t.Helper()
	var newest kvstore.Revision
	for _, r := range rs {
		newest = max(newest, r.Revision())
	}
	for _, r := range rs {
		ok(t, r.WaitFor(within(t), newest))
	}
}

// closing gives Close and its like an end of their own: the test's context ends before its cleanups.
func closing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// CloseWith closes a registry with the test and tells its error. For those who make a Bed.
func CloseWith(t testing.TB, r *registry.Registry) {
	t.Cleanup(func() {
		ctx, cancel := closing()
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("close registry: %v", err)
		}
	})
}
