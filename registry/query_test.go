package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// queryWorld is a view with names that come and go, and change what they say.
type queryWorld struct {
	rnd *rand.Rand
	log *logbook
	v   *view
}

func newQueryWorld(seed uint64) *queryWorld {
	w := &queryWorld{rnd: rand.New(rand.NewPCG(seed, 0)), log: newLogbook("log"), v: newView()}
	w.v.apply(w.log.snapshot())
	return w
}

func (w *queryWorld) name() string {
	labels := []string{"a", "b", "team-a", "team-b", "weather", "x"}
	name := labels[w.rnd.IntN(len(labels))]
	for range w.rnd.IntN(3) {
		name += "." + labels[w.rnd.IntN(len(labels))]
	}
	return name
}

func (w *queryWorld) step() {
	var entries []kvstore.Entry
	for range 1 + w.rnd.IntN(100) {
		session := fmt.Sprintf("S%d", w.rnd.IntN(6))
		key := leaseKey(session)
		entry := putLease(session)
		if w.rnd.IntN(10) > 0 {
			rec := Record{Name: w.name(), Session: session, Instance: fmt.Sprint("i", w.rnd.IntN(9)), Node: fmt.Sprint("n", w.rnd.IntN(3)), Labels: map[string]string{}}
			if w.rnd.IntN(2) == 0 {
				rec.Kind = fmt.Sprint("k", w.rnd.IntN(2))
			}
			for _, label := range []string{"type", "lang", "gpu"} {
				if w.rnd.IntN(2) == 0 {
					rec.Labels[label] = fmt.Sprint("v", w.rnd.IntN(3))
				}
			}
			key, entry = nameKey(rec.Name), put(nameKey(rec.Name), encode(nameRecord{Record: rec, V: recordVersion}))
		}
		if w.rnd.IntN(5) == 0 {
			entry = del(key, ReasonClosed)
		}
		if !slices.ContainsFunc(entries, func(e kvstore.Entry) bool { return e.Key == key }) {
			entries = append(entries, entry)
		}
	}
	step := w.log.append(entries...)
	if w.rnd.IntN(10) == 0 {
		step = w.log.snapshot()
	}
	w.v.apply(step)
}

func (w *queryWorld) query() (q Query) {
	pick := func(texts ...string) string {
		if i := w.rnd.IntN(2 * len(texts)); i < len(texts) {
			return texts[i]
		}
		return ""
	}
	q.Pattern = pick(">", "*", "a", "team-a.>", "*.weather", "a.*", "*.a.>", "a.*.x", "*.*", "x.x", "nobody.>")
	q.Selector = pick("type=v1", "type", "!type", "type in (v0,v2)", "type=v1,lang!=v0", "lang notin (v1),gpu", "gpu in (v0,none)", "none", "type=none")
	if w.rnd.IntN(4) == 0 {
		q.Session, q.Node, q.Kind = pick("S1", "S9"), pick("n0", "n1", "none"), pick("k0", "k1", "none")
	}
	return q
}

// A query finds what a look at every name would find, in order, whatever the source that it takes, over all its pages; and the index has nothing
// but what is visible.
func TestFindIsWhatAScanFinds(t *testing.T) {
	sources := map[string]int{}
	for seed := range uint64(5) {
		w := newQueryWorld(seed)
		for range 30 {
			for range 1 + w.rnd.IntN(4) {
				w.step()
			}
			checkIndex(t, w.v)
			for range 20 {
				q := w.query()
				f, err := q.parse()
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				for _, rec := range w.v.list() {
					if f.match(&rec) {
						want = append(want, rec.Name)
					}
				}
				if src := w.v.source(&f); src.size < len(want) || src.exact && src.size != len(want) {
					t.Fatalf("%+v: a source of %d names, exact %v, for %d", q, src.size, src.exact, len(want))
				} else if len(want) > 0 {
					sources[fmt.Sprint(src.exact, src.size == w.v.names.len())]++
				}
				if n, err := w.v.count(q); n != len(want) || err != nil {
					t.Fatalf("%+v: counted %d (%v), want %d", q, n, err, len(want))
				}
				q.Limit, q.Total = w.rnd.IntN(4)*len(want)/3, w.rnd.IntN(2) == 0
				var got []string
				for {
					page, err := w.v.find(q)
					if err != nil || page.Revision != w.v.revision || q.Limit > 0 && len(page.Records) > q.Limit {
						t.Fatalf("%+v: %d records at %d (%v)", q, len(page.Records), page.Revision, err)
					}
					if page.Total != len(want) && (page.Total != -1 || q.Total || q.Limit == 0) {
						t.Fatalf("%+v: %d in all, want %d", q, page.Total, len(want))
					}
					for _, rec := range page.Records {
						got = append(got, rec.Name)
					}
					if q.After = page.Next; q.After == "" {
						break
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%+v: %v, want %v", q, got, want)
				}
			}
		}
	}
	for _, s := range []string{"true true", "true false", "false true", "false false"} {
		if sources[s] == 0 {
			t.Errorf("no query took a source that is exact, and all: %s; the test has lost its reach: %v", s, sources)
		}
	}
}

// checkIndex compares the index with what is visible.
func checkIndex(t *testing.T, v *view) {
	t.Helper()
	v.lockIndex()
	defer v.mu.RUnlock()
	want := newIndex()
	for name, rec := range v.names.all() {
		want.note(name, nil, rec)
	}
	want.settle()
	if got, want := slices.Collect(v.index.names.from("")), slices.Collect(want.names.from("")); !slices.Equal(got, want) {
		t.Fatalf("index of names %v, want %v", got, want)
	}
	if got, want := slices.Collect(v.index.endings.from("")), slices.Collect(want.endings.from("")); !slices.Equal(got, want) {
		t.Fatalf("index of endings %v, want %v", got, want)
	}
	if len(v.index.facets) != len(want.facets) {
		t.Fatalf("%d facets, want %d", len(v.index.facets), len(want.facets))
	}
	for f, values := range want.facets {
		if len(values) != len(v.index.facets[f]) {
			t.Fatalf("%d values of %v, want %d", len(v.index.facets[f]), f, len(values))
		}
		for value, set := range values {
			if got, want := slices.Collect(v.index.facets[f][value].from("")), slices.Collect(set.from("")); !slices.Equal(got, want) {
				t.Fatalf("index of %v=%s: %v, want %v", f, value, got, want)
			}
		}
	}
}

func TestFindErrors(t *testing.T) {
	v, _ := bigView(t, 10)
	for _, c := range []struct {
		q    Query
		want error
	}{{Query{Pattern: "a..b"}, ErrBadPattern}, {Query{Selector: "a b"}, ErrBadSelector}, {Query{After: "a b"}, ErrBadName}} {
		if _, err := v.find(c.q); !errors.Is(err, c.want) {
			t.Errorf("find %+v: %v, want %v", c.q, err, c.want)
		}
		if _, err := v.count(c.q); !errors.Is(err, c.want) {
			t.Errorf("count %+v: %v, want %v", c.q, err, c.want)
		}
	}
}

// A query that an index answers looks at its range and no further: it takes as long in a hundred times as many names. What is counted here is the
// names that it may look at.
func TestFindLooksNoFurther(t *testing.T) {
	v, _ := bigView(t, 10_000) // in 100 teams
	for _, c := range []struct {
		q    Query
		most int
	}{
		{Query{Pattern: "team-7.>"}, 100}, {Query{Pattern: "team-7.*"}, 100}, {Query{Pattern: "*.server-77"}, 1}, {Query{Pattern: "team-7.server-7"}, 1},
		{Query{Session: "S000007"}, 10}, {Query{Kind: "none"}, 0}, {Query{Selector: "type=tool"}, 0}, {Query{Pattern: "nobody.>"}, 0},
	} {
		f, err := c.q.parse()
		if err != nil {
			t.Fatal(err)
		}
		if src := v.source(&f); src.size > c.most {
			t.Errorf("%+v looks at %d names, %d is the most", c.q, src.size, c.most)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	v, _ := bigView(b, 100_000)
	r := &Registry{view: v, clock: systemClock{}}
	for _, c := range []struct {
		name string
		q    Query
		want int
	}{
		{"page=first", Query{Limit: 50}, 50},
		{"page=middle", Query{Limit: 50, After: "team-50.server-50050"}, 50},
		{"pattern=head", Query{Pattern: "team-7.>", Limit: 50}, 50},
		{"pattern=tail", Query{Pattern: "*.server-777"}, 1},
		{"pattern=both", Query{Pattern: "team-7.*", Limit: 50}, 50},
		{"session", Query{Session: "S000777"}, 10},
		{"selector=none", Query{Selector: "type=tool"}, 0},
		{"selector=scan", Query{Selector: "!type", Limit: 50}, 50},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if page, err := r.Find(c.q); err != nil || len(page.Records) != c.want {
					b.Fatal(len(page.Records), err)
				}
			}
		})
	}
	b.Run("count=range", func(b *testing.B) {
		for b.Loop() {
			if n, err := r.Count(Query{Pattern: "team-7.>"}); err != nil || n != 1000 {
				b.Fatal(n, err)
			}
		}
	})
}
