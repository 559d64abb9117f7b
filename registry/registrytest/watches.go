package registrytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

var watches = chapter{"watch", []test{
	{"first what is there, then synced, then news with reasons, in order", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		register(t, s, "a", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}})
		together(t, rs...)
		l := listen(t, rs[1], nil)
		first := l.until(t, registry.Synced)
		if len(first) != 3 || first[0].Kind != registry.Registered || first[0].Record.Name != "a" || first[1].Kind != registry.Joined {
			t.Fatalf("%+v", first)
		}
		reg := register(t, s, "b", &registry.RegisterOptions{Instance: "j"})
		m := join(t, s, "tools", "j")
		ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Kind = "new" }))
		ok(t, m.Leave(within(t)))
		ok(t, reg.Unregister(within(t)))
		ok(t, s.Close(within(t)))
		got := l.take(t, 7)
		want := []struct {
			kind   registry.EventKind
			what   string
			reason registry.Reason
		}{
			{registry.Registered, "b", ""}, {registry.Joined, "j", ""}, {registry.Updated, "b", ""},
			{registry.Left, "j", registry.ReasonLeft}, {registry.Unregistered, "b", registry.ReasonUnregistered},
		}
		last := first[2].Revision
		for i, w := range want {
			ev := got[i]
			if what := ev.Record.Name + ev.Member.Instance; ev.Kind != w.kind || what != w.what || ev.Reason != w.reason || ev.Collapsed {
				t.Fatalf("event %d is %+v, want %+v", i, ev, w)
			}
			if ev.Revision <= last {
				t.Fatalf("event %d at %d after %d", i, ev.Revision, last)
			}
			last = ev.Revision
		}
		for _, ev := range got[5:] { // the end of the session: both in one step
			if ev.Revision <= last || ev.Revision != got[5].Revision || ev.Reason != registry.ReasonClosed {
				t.Fatalf("%+v", got[5:])
			}
		}
		if got[2].Record.Kind != "new" {
			t.Fatalf("%+v", got[2])
		}
	}},
	{"what is folded from the events is what the view shows, on every process and from any beginning", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 3)
		rnd := rand.New(rand.NewPCG(1, 2))
		var ss []*registry.Session
		var ls []*listener
		for i := range 150 {
			if i%50 == 0 {
				for _, r := range rs {
					ls = append(ls, listen(t, r, nil))
				}
			}
			if len(ss) == 0 || rnd.IntN(10) == 0 {
				ss = append(ss, session(t, rs[rnd.IntN(3)]))
			}
			at := rnd.IntN(len(ss))
			s, name, instance := ss[at], fmt.Sprintf("n%d", rnd.IntN(4)), fmt.Sprintf("i%d-%d", at, rnd.IntN(3))
			switch rnd.IntN(6) {
			case 0, 1, 2:
				reg, err := s.Register(within(t), name, &registry.RegisterOptions{Instance: instance, Groups: []string{"g" + name}})
				if err == nil && rnd.IntN(2) == 0 {
					ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Kind = fmt.Sprint(i) }))
				}
				if err == nil && rnd.IntN(3) == 0 {
					ok(t, reg.Unregister(within(t)))
				}
			case 3, 4:
				m := join(t, s, name, instance)
				if rnd.IntN(3) == 0 {
					ok(t, m.Leave(within(t)))
				}
			case 5:
				ok(t, s.Close(within(t)))
				ss = append(ss[:at], ss[at+1:]...)
			}
		}
		wantSame(t, rs...)
		for i, l := range ls {
			f, synced := fold(), false
			eventually(t, "the events lead to what is shown", func() bool {
				for {
					select {
					case ev := <-l.events:
						synced = synced || ev.Kind == registry.Synced
						f.add(t, ev)
						continue
					default:
					}
					return synced && f.matches(t, rs[i%3])
				}
			})
		}
	}},
	{"one name, one group", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		register(t, s, "other", nil)
		name := listen(t, r, &registry.WatchOptions{Name: "CALC"})
		group := listen(t, r, &registry.WatchOptions{Group: "Tools"})
		if got := append(name.until(t, registry.Synced), group.until(t, registry.Synced)...); len(got) != 2 {
			t.Fatalf("%+v", got)
		}
		register(t, s, "calc.other", &registry.RegisterOptions{Groups: []string{"tools.other"}})
		register(t, s, "calc", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}})
		ok(t, s.Close(within(t)))
		for _, l := range []*listener{name, group} {
			for _, ev := range l.take(t, 2) {
				if ev.Record.Name+ev.Member.Group != "calc" && ev.Record.Name+ev.Member.Group != "tools" {
					t.Fatalf("%+v", ev)
				}
			}
		}
	}},
	{"who is too slow is told, after what fits his buffer", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		ctx := within(t)
		var told int
		var end error
		for ev, err := range r.Watch(ctx, &registry.WatchOptions{Buffer: 3}) {
			if err != nil {
				end = err
				break
			}
			if told++; ev.Kind == registry.Synced {
				for i := range 5 { // while this loop's body runs, nothing is read
					register(t, s, fmt.Sprintf("n%d", i), nil)
				}
			}
		}
		wantError(t, end, registry.ErrLagged)
		if told != 1+3 {
			t.Fatalf("%d events", told)
		}
		if got := listen(t, r, nil).until(t, registry.Synced); len(got) != 6 {
			t.Fatalf("starting over: %+v", got)
		}
	}},
	{"it ends with its context without an error, and with the registry with one", func(t *testing.T, b *Bed) {
		r := b.one(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for ev, err := range r.Watch(ctx, nil) {
			ok(t, err)
			if ev.Kind == registry.Synced {
				cancel()
			}
		}
		l := listen(t, r, nil)
		l.until(t, registry.Synced)
		ok(t, r.Close(within(t)))
		wantError(t, receive(t, l.end, "the watch ends"), registry.ErrClosed)
	}},
	{"what is no name is refused", func(t *testing.T, b *Bed) {
		r := b.one(t)
		for _, opts := range []*registry.WatchOptions{{Name: "a b"}, {Group: ">"}} {
			wantError(t, receive(t, listen(t, r, opts).end, "the watch ends"), registry.ErrBadName)
		}
	}},
	{"a gap in the feed is told as what it changed", func(t *testing.T, b *Bed) {
		r := b.one(t)
		view, way := b.faulty(t)
		s := session(t, r)
		gone := register(t, s, "gone", nil)
		ok(t, view.WaitFor(within(t), gone.Token()))
		l := listen(t, view, nil)
		l.until(t, registry.Synced)
		way.Cut()
		ok(t, gone.Unregister(within(t)))
		brief := register(t, s, "brief", nil)
		ok(t, brief.Unregister(within(t)))
		register(t, s, "here", nil)
		way.Restore()
		together(t, r, view)
		f := fold()
		for _, ev := range l.take(t, 2) {
			if f.names["gone"] = gone.Record(); ev.Kind == registry.Registered {
				delete(f.names, "gone")
			}
			if f.add(t, ev); !ev.Collapsed || ev.Record.Name == "brief" {
				t.Fatalf("%+v", ev)
			}
		}
		wantSame(t, r, view)
	}},
}}
