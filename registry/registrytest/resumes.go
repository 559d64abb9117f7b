package registrytest

import (
	"errors"
	"testing"
	"time"

	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
)

var resumes = chapter{"watch by choice, and resumed", []test{
	{"by pattern and selector", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		label := func(v string) map[string]string { return map[string]string{"type": v} }
		reg := register(t, s, "team.a", &registry.RegisterOptions{Labels: label("tool"), Groups: []string{"tools"}})
		register(t, s, "team.b", &registry.RegisterOptions{Labels: label("prompt")})
		register(t, s, "a", &registry.RegisterOptions{Labels: label("tool")})
		together(t, rs...)
		l := listen(t, rs[1], &registry.WatchOptions{Pattern: "team.>", Selector: "type=tool"})
		first := l.until(t, registry.Synced)
		if len(first) != 2 || first[0].Record.Name != "team.a" || first[0].Time.IsZero() {
			t.Fatalf("%+v", first)
		}
		relabel := func(v string) {
			ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Labels = label(v) }))
		}
		relabel("prompt")
		relabel("tool")
		register(t, s, "b", &registry.RegisterOptions{Labels: label("tool")})
		ok(t, s.Close(within(t)))
		got := l.take(t, 3)
		if got[0].Kind != registry.Unregistered || got[0].Reason != registry.ReasonUnselected || got[1].Kind != registry.Registered ||
			got[2].Kind != registry.Unregistered || got[2].Reason != registry.ReasonClosed {
			t.Fatalf("%+v", got)
		}
		for _, ev := range got {
			if ev.Record.Name != "team.a" || ev.Time.IsZero() {
				t.Fatalf("%+v", ev)
			}
		}
		for _, opts := range []*registry.WatchOptions{{Pattern: "a.>.b"}, {Selector: "a in"}} {
			err := receive(t, listen(t, rs[1], opts).end, "the watch ends")
			if want := registry.ErrBadPattern; opts.Pattern != "" {
				wantError(t, err, want)
			} else {
				wantError(t, err, registry.ErrBadSelector)
			}
		}
	}},
	{"a watch goes on where another has ended, on any process", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s, dies := session(t, rs[0]), session(t, rs[1])
		register(t, s, "stays", nil)
		changes := register(t, s, "changes", nil)
		ends := register(t, s, "ends", nil)
		register(t, dies, "dies", &registry.RegisterOptions{Instance: "i", Groups: []string{"tools"}})
		together(t, rs...)
		first := listen(t, rs[1], nil).until(t, registry.Synced)
		at := first[len(first)-1]
		f := fold()
		for _, ev := range first {
			f.add(t, ev)
		}

		ok(t, changes.Update(within(t), func(rec *registry.Record) { rec.Kind = "new" }))
		ok(t, ends.Unregister(within(t)))
		ok(t, dies.Close(within(t)))
		brief := register(t, s, "brief", nil)
		ok(t, brief.Unregister(within(t)))
		register(t, s, "comes", nil)
		together(t, rs...)
		late := b.one(t) // which has seen nothing of it
		for _, r := range []*registry.Registry{rs[0], rs[1], late} {
			together(t, rs[0], rs[1], late)
			l := listen(t, r, &registry.WatchOptions{Since: at.Revision, SinceTime: at.Time})
			known := fold()
			for name, rec := range f.names {
				known.names[name] = rec
			}
			for key, m := range f.groups {
				known.groups[key] = m
			}
			kinds := map[string]registry.EventKind{}
			for _, ev := range l.until(t, registry.Synced) {
				if ev.Kind == registry.Synced {
					continue
				}
				if !ev.Collapsed || ev.Revision <= at.Revision {
					t.Fatalf("%+v, resumed from %d", ev, at.Revision)
				}
				kinds[ev.Record.Name+ev.Member.Instance] = ev.Kind
				known.resume(ev)
			}
			if !known.matches(t, r) {
				t.Fatalf("resumed, a reader knows %+v", known)
			}
			if kinds["changes"] != registry.Updated || kinds["ends"] != registry.Unregistered || kinds["dies"] != registry.Unregistered ||
				kinds["i"] != registry.Left || kinds["comes"] != registry.Registered || kinds["stays"] != "" {
				t.Fatalf("%v", kinds)
			}
			next := register(t, s, "next", nil)
			if ev := l.take(t, 1)[0]; ev.Kind != registry.Registered || ev.Record.Name != "next" || ev.Collapsed {
				t.Fatalf("%+v", ev)
			}
			ok(t, next.Unregister(within(t)))
			l.take(t, 1)
			together(t, rs[0], rs[1], late) // else the next watch might hear the end of it after its synced mark
		}
	}},
	{"from where a view has not come yet", func(t *testing.T, b *Bed) {
		r := b.one(t)
		behind, way := b.faulty(t)
		s := session(t, r)
		together(t, r, behind)
		way.DelayFeed(300 * time.Millisecond)
		reg := register(t, s, "calc", nil)
		l := listen(t, behind, &registry.WatchOptions{Since: reg.Token(), SinceTime: time.Now()})
		if got := l.until(t, registry.Synced); len(got) != 1 || got[0].Revision < reg.Token() {
			t.Fatalf("%+v, from %d", got, reg.Token())
		}
	}},
	{"from before the log, or from another one: start over", func(t *testing.T, b *Bed) {
		r := b.one(t)
		register(t, session(t, r), "calc", nil)
		for _, since := range []kvstore.Revision{1, r.Revision() + 1_000_000} {
			l := listen(t, r, &registry.WatchOptions{Since: since, SinceTime: time.Now()})
			wantError(t, receive(t, l.end, "the watch ends"), registry.ErrTooOld)
		}
	}},
	{"who was too slow goes on where he was", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		opts := &registry.WatchOptions{Buffer: 2}
		f := fold()
		lagged := 0
		ctx := within(t)
		for again := true; again; {
			again = false
			for ev, err := range r.Watch(ctx, opts) {
				if err != nil {
					behind, is := errors.AsType[*registry.LaggedError](err)
					if wantError(t, err, registry.ErrLagged); !is {
						t.Fatalf("%T", err)
					}
					opts.Since, opts.SinceTime = behind.Since, behind.SinceTime
					lagged++
					again = true
					break
				}
				f.resume(ev)
				if ev.Kind == registry.Synced {
					if lagged > 0 {
						break
					}
					for _, name := range []string{"a", "b"} { // while this loop's body runs, nothing is read
						register(t, s, name, &registry.RegisterOptions{Instance: name, Groups: []string{"x", "y", "z"}}) // in one step
					}
					ok(t, register(t, s, "c", nil).Unregister(within(t)))
				}
			}
		}
		if lagged != 1 || !f.matches(t, r) {
			t.Fatalf("lagged %d times; the reader knows %+v", lagged, f)
		}
	}},
}}

// resume takes an event of a resumed watch in: what is there takes the place of what was, and what is gone may never have been known.
func (f *folded) resume(ev registry.Event) {
	at := [2]string{ev.Member.Group, ev.Member.Instance}
	switch ev.Kind {
	case registry.Registered, registry.Updated:
		f.names[ev.Record.Name] = ev.Record
	case registry.Unregistered:
		delete(f.names, ev.Record.Name)
	case registry.Joined, registry.MemberUpdated:
		f.groups[at] = ev.Member
	case registry.Left:
		delete(f.groups, at)
	}
}
