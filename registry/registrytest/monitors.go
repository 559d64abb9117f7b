package registrytest

import (
	"context"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

// wantDown waits for a monitor's one notice.
func wantDown(t *testing.T, down <-chan registry.Down, what string, reason registry.Reason) {
	t.Helper()
	if d := receive(t, down, "the end of "+what); d.What != what || d.Reason != reason {
		t.Fatalf("%+v, want %s: %s", d, what, reason)
	}
}

func wantQuiet(t *testing.T, down <-chan registry.Down) {
	t.Helper()
	select {
	case d := <-down:
		t.Fatalf("%+v", d)
	default:
	}
}

var monitors = chapter{"monitor", []test{
	{"one notice with the right reason, and none after it", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		one := register(t, s, "one", nil)
		register(t, s, "two", nil)
		join(t, s, "tools", "i")
		m := join(t, s, "tools", "j")
		together(t, rs...)
		downs := map[string]<-chan registry.Down{}
		for _, name := range []string{"one", "two"} {
			down, err := rs[1].Monitor(t.Context(), name)
			ok(t, err)
			downs[name] = down
		}
		lease, err := rs[1].MonitorSession(t.Context(), s.ID())
		ok(t, err)
		i, err := rs[1].MonitorMember(t.Context(), "tools", "i")
		ok(t, err)
		j, err := rs[1].MonitorMember(t.Context(), "Tools", "j")
		ok(t, err)

		ok(t, one.Update(within(t), func(rec *registry.Record) { rec.Kind = "x" })) // no end of anything
		ok(t, one.Unregister(within(t)))
		wantDown(t, downs["one"], "one", registry.ReasonUnregistered)
		again := register(t, s, "one", nil)
		ok(t, again.Unregister(within(t)))
		ok(t, m.Leave(within(t)))
		wantDown(t, j, "tools/j", registry.ReasonLeft)
		ok(t, s.Close(within(t)))
		wantDown(t, downs["two"], "two", registry.ReasonClosed)
		wantDown(t, lease, s.ID(), registry.ReasonClosed)
		wantDown(t, i, "tools/i", registry.ReasonClosed)
		together(t, rs...)
		for _, down := range []<-chan registry.Down{downs["one"], downs["two"], lease, i, j} {
			wantQuiet(t, down)
		}
	}},
	{"many monitors of one name each get their notice", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		register(t, s, "calc", nil)
		var downs []<-chan registry.Down
		for range 50 {
			down, err := r.Monitor(t.Context(), "CALC")
			ok(t, err)
			downs = append(downs, down)
		}
		ok(t, s.Close(within(t)))
		for _, down := range downs {
			wantDown(t, down, "calc", registry.ReasonClosed)
		}
	}},
	{"what nobody holds cannot be watched for its end", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		ok(t, register(t, s, "was", nil).Unregister(within(t)))
		for _, name := range []string{"never", "was"} {
			_, err := r.Monitor(t.Context(), name)
			wantError(t, err, registry.ErrNotFound)
		}
		_, err := r.MonitorSession(t.Context(), "nobody")
		wantError(t, err, registry.ErrNotFound)
		_, err = r.MonitorMember(t.Context(), "tools", "i")
		wantError(t, err, registry.ErrNotFound)
	}},
	{"with its context it falls silent", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		register(t, s, "calc", nil)
		ctx, cancel := context.WithCancel(t.Context())
		quiet, err := r.Monitor(ctx, "calc")
		ok(t, err)
		loud, err := r.Monitor(t.Context(), "calc")
		ok(t, err)
		cancel()
		ok(t, r.Refresh(within(t))) // long enough for it to be taken off
		ok(t, s.Close(within(t)))
		wantDown(t, loud, "calc", registry.ReasonClosed)
		wantQuiet(t, quiet)
	}},
}}
