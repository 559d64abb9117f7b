package registrytest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/toolbus/toolbus/registry"
)

// wantChosen checks which names a query chooses, over all its pages, and how many it says there are.
func wantChosen(t testing.TB, r *registry.Registry, q registry.Query, want ...string) {
	t.Helper()
	var got []string
	for q.After = ""; ; {
		page, err := r.Find(q)
		ok(t, err)
		if q.Limit > 0 && len(page.Records) > q.Limit || page.Revision == 0 {
			t.Fatalf("%+v: a page of %d at %d", q, len(page.Records), page.Revision)
		}
		for _, rec := range page.Records {
			got = append(got, rec.Name)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%+v: %q, want %q", q, got, want)
	}
	if n, err := r.Count(q); err != nil || n != len(want) {
		t.Fatalf("%+v: counted %d (%v), want %d", q, n, err, len(want))
	}
}

var queries = chapter{"queries", []test{
	{"by pattern, labels, session, node and kind, in order and in pages", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		one, two := session(t, rs[0]), session(t, rs[1])
		for _, n := range []struct {
			s      *registry.Session
			name   string
			kind   string
			labels map[string]string
		}{
			{one, "team-a.weather", "stdio", map[string]string{"type": "tool", "lang": "go"}},
			{two, "team-a.calc", "http", map[string]string{"type": "tool", "lang": "rust"}},
			{two, "team-b.weather", "stdio", map[string]string{"type": "prompt"}},
			{one, "team-a", "http", nil},
			{one, "weather", "stdio", map[string]string{"type": "tool"}},
		} {
			register(t, n.s, n.name, &registry.RegisterOptions{Kind: n.kind, Labels: n.labels, Groups: []string{"g"}})
		}
		together(t, rs...)
		for _, r := range rs {
			for _, limit := range []int{0, 1, 2, 5} {
				for _, c := range []struct {
					q    registry.Query
					want []string
				}{
					{registry.Query{}, []string{"team-a", "team-a.calc", "team-a.weather", "team-b.weather", "weather"}},
					{registry.Query{Pattern: "Team-A.>"}, []string{"team-a.calc", "team-a.weather"}},
					{registry.Query{Pattern: "*.weather"}, []string{"team-a.weather", "team-b.weather"}},
					{registry.Query{Pattern: "weather"}, []string{"weather"}},
					{registry.Query{Pattern: "nobody.*"}, nil},
					{registry.Query{Selector: "type=tool"}, []string{"team-a.calc", "team-a.weather", "weather"}},
					{registry.Query{Selector: "type=tool,lang!=go"}, []string{"team-a.calc", "weather"}},
					{registry.Query{Selector: "type in (tool, prompt), lang"}, []string{"team-a.calc", "team-a.weather"}},
					{registry.Query{Selector: "!type"}, []string{"team-a"}},
					{registry.Query{Selector: "type", Pattern: "*.weather"}, []string{"team-a.weather", "team-b.weather"}},
					{registry.Query{Session: two.ID()}, []string{"team-a.calc", "team-b.weather"}},
					{registry.Query{Kind: "http"}, []string{"team-a", "team-a.calc"}},
					{registry.Query{Kind: "stdio", Session: one.ID(), Selector: "lang=go"}, []string{"team-a.weather"}},
				} {
					c.q.Limit = limit
					wantChosen(t, r, c.q, c.want...)
				}
			}
			if rs[0].Node() != rs[1].Node() {
				wantChosen(t, r, registry.Query{Node: rs[1].Node()}, "team-a.calc", "team-b.weather")
			}
			page, err := r.Find(registry.Query{Pattern: "team-a.*", Limit: 1, Total: true})
			ok(t, err)
			if page.Total != 2 || page.Next != "team-a.calc" || page.Revision != r.Revision() || !slices.Equal(page.Records[0].Groups, []string{"g"}) {
				t.Fatalf("%+v", page)
			}
		}
	}},
	{"a query follows what owners say, and their end", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", &registry.RegisterOptions{Kind: "old", Labels: map[string]string{"type": "tool"}})
		register(t, s, "other", &registry.RegisterOptions{Kind: "old"})
		together(t, rs...)
		wantChosen(t, rs[1], registry.Query{Selector: "type=tool"}, "calc")
		ok(t, reg.Update(within(t), func(rec *registry.Record) { rec.Kind, rec.Labels = "new", map[string]string{"type": "prompt"} }))
		together(t, rs...)
		wantChosen(t, rs[1], registry.Query{Selector: "type=tool"})
		wantChosen(t, rs[1], registry.Query{Selector: "type=prompt", Kind: "new"}, "calc")
		wantChosen(t, rs[1], registry.Query{Kind: "old"}, "other")
		ok(t, s.Close(within(t)))
		together(t, rs...)
		for _, q := range []registry.Query{{}, {Selector: "type=prompt"}, {Kind: "old"}, {Session: s.ID()}, {Pattern: "calc"}} {
			wantChosen(t, rs[1], q)
		}
	}},
	{"pages are stable while names come and go", func(t *testing.T, b *Bed) {
		r := b.one(t)
		s := session(t, r)
		var stay []string
		for i := range 12 {
			name := fmt.Sprintf("n%02d", i)
			reg := register(t, s, name, nil)
			if i%3 == 2 {
				ok(t, reg.Unregister(within(t)))
				continue
			}
			stay = append(stay, name)
		}
		var got []string
		q := registry.Query{Pattern: "*", Limit: 3}
		for i := 0; ; i++ {
			page, err := r.Find(q)
			ok(t, err)
			for _, rec := range page.Records {
				if slices.Contains(stay, rec.Name) {
					got = append(got, rec.Name)
				}
			}
			if q.After = page.Next; q.After == "" {
				break
			}
			brief := register(t, s, fmt.Sprintf("n%02d-brief", 3*i), nil) // before and after where the reader is
			register(t, s, fmt.Sprintf("n%02d-late", 4*i), nil)
			ok(t, brief.Unregister(within(t)))
		}
		if !slices.Equal(got, stay) {
			t.Fatalf("%q, want each of %q once", got, stay)
		}
	}},
	{"what is no query is refused", func(t *testing.T, b *Bed) {
		r := b.one(t)
		_, err := r.Find(registry.Query{Pattern: "a.>.b"})
		wantError(t, err, registry.ErrBadPattern)
		_, err = r.Find(registry.Query{Selector: "a="})
		ok(t, err)
		_, err = r.Count(registry.Query{Selector: "a in b"})
		wantError(t, err, registry.ErrBadSelector)
		_, err = r.Find(registry.Query{After: "a..b"})
		wantError(t, err, registry.ErrBadName)
	}},
	{"a read says at which revision it is true, and after a refresh it is as new as the log", func(t *testing.T, b *Bed) {
		rs := b.registries(t, 2)
		s := session(t, rs[0])
		reg := register(t, s, "calc", nil)
		f := rs[0].Freshness()
		if f.Revision < reg.Token() {
			t.Fatalf("%+v does not reach %d", f, reg.Token())
		}
		ok(t, rs[1].Refresh(within(t)))
		page, err := rs[1].Find(registry.Query{Pattern: "calc"})
		ok(t, err)
		if len(page.Records) != 1 || page.Revision < reg.Token() {
			t.Fatalf("%+v, the claim was at %d", page, reg.Token())
		}
		eventually(t, "a pulse shows how old the view can be", func() bool {
			page, err := rs[1].Find(registry.Query{})
			ok(t, err)
			return page.Known && page.Age > 0 && rs[1].Freshness().Known
		})
	}},
}}
