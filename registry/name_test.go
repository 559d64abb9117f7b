package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/kvstore"
)

// grammar is the grammar of names, said a second time.
var grammar = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){0,7}$`)

func wantName(s string) (string, bool) {
	folded := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
	return folded, len(s) <= MaxName && grammar.MatchString(folded)
}

func TestParseName(t *testing.T) {
	l63, l64 := strings.Repeat("a", 63), strings.Repeat("a", 64)
	for _, c := range []struct{ in, want, why string }{
		{"weather", "weather", ""},
		{"Team-A.Weather", "team-a.weather", ""},
		{"0", "0", ""},
		{"a.b.c.d.e.f.g.h", "a.b.c.d.e.f.g.h", ""},
		{l63, l63, ""},
		{l63 + "." + l63, l63 + "." + l63, ""},
		{"", "", "empty"},
		{".a", "", "label is empty"},
		{"a.", "", "label is empty"},
		{"a..b", "", "label is empty"},
		{"-a", "", "hyphen"},
		{"a-", "", "hyphen"},
		{"a.-b", "", "hyphen"},
		{"a.b.c.d.e.f.g.h.i", "", "more labels than 8"},
		{l64, "", "64 bytes"},
		{l63 + "." + l63 + ".a", "", "128"},
		{"a_b", "", `"_"`},
		{"a b", "", `" "`},
		{"a*", "", `"*"`},
		{"a>", "", `">"`},
		{"ä", "", "is not a letter"},
		{"\u0130", "", "is not a letter"}, // lower-cases to an ASCII i and a mark
		{"\u212a", "", "is not a letter"}, // the Kelvin sign lower-cases to k
		{"a\x00", "", "is not a letter"},
		{"a\n", "", "is not a letter"},
	} {
		got, err := ParseName(c.in)
		if c.why == "" {
			if err != nil || got != c.want {
				t.Errorf("ParseName(%q) = %q, %v, want %q", c.in, got, err, c.want)
			}
			continue
		}
		ne, ok := errors.AsType[*NameError](err)
		if !ok || !errors.Is(err, ErrBadName) || ne.Name != c.in || !strings.Contains(ne.Why, c.why) || got != "" {
			t.Errorf("ParseName(%q) = %q, %v, want a NameError that says %q", c.in, got, err, c.why)
		}
	}
	if _, err := ParseScope("a.b"); !errors.Is(err, ErrBadName) {
		t.Errorf("a scope of two labels: %v", err)
	}
	if got, err := ParseScope("Default"); err != nil || got != "default" {
		t.Errorf("ParseScope = %q, %v", got, err)
	}
}

func TestParseNameDoesNotAllocate(t *testing.T) {
	name := strings.Clone("team-a.weather")
	if n := testing.AllocsPerRun(100, func() { ParseName(name) }); n != 0 {
		t.Errorf("ParseName of a lower-case name allocates %v times", n)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"weather", "Team-A.Weather", "a..b", "-", "a.b.c.d.e.f.g.h.i", strings.Repeat("a", 64), "\u212a", "a\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, ok := wantName(s)
		got, err := ParseName(s)
		if ok != (err == nil) {
			t.Fatalf("ParseName(%q) = %q, %v", s, got, err)
		}
		if err != nil {
			if !errors.Is(err, ErrBadName) {
				t.Fatalf("ParseName(%q): %v is not ErrBadName", s, err)
			}
			return
		}
		if got != want {
			t.Fatalf("ParseName(%q) = %q, want %q", s, got, want)
		}
		if again, err := ParseName(got); err != nil || again != got {
			t.Fatalf("ParseName(%q) = %q, %v: folding twice is not folding once", got, again, err)
		}
		if err := kvstore.CheckKey(groupKey(got, strings.Repeat("Z", MaxLabel))); err != nil {
			t.Fatalf("%q makes a key that the store refuses: %v", got, err)
		}
	})
}

// bigView is a view with n names of n/10 sessions, and the names, in another order and other memory than the view's own.
func bigView(tb testing.TB, n int) (*view, []string) {
	tb.Helper()
	v := newView()
	var entries []kvstore.Entry
	names := make([]string, n)
	revision := kvstore.Revision(0)
	add := func(key string, value []byte) {
		revision++
		entries = append(entries, kvstore.Entry{Key: key, Value: value, Revision: revision})
	}
	for i := range n {
		session := fmt.Sprintf("S%06d", i/10)
		if i%10 == 0 {
			add(leaseKey(session), encode(leaseRecord{Lease: Lease{Session: session}, V: recordVersion}))
		}
		names[i] = fmt.Sprintf("team-%d.server-%d", i%100, i)
		add(nameKey(names[i]), encode(nameRecord{Record: Record{Name: names[i], Session: session, Instance: names[i]}, V: recordVersion}))
	}
	v.apply(kvstore.Step{Kind: kvstore.Snapshot, Entries: entries, Revision: revision, Log: "log"})
	if got := len(v.listNames()); got != n {
		tb.Fatalf("the view has %d names, want %d", got, n)
	}
	for i := range names {
		names[i] = strings.Clone(names[i])
	}
	rand.Shuffle(n, func(i, j int) { names[i], names[j] = names[j], names[i] })
	return v, names
}

func TestWhereisDoesNotAllocate(t *testing.T) {
	v, names := bigView(t, 100)
	r := &Registry{view: v}
	i := 0
	n := testing.AllocsPerRun(1000, func() {
		if rec, err := r.Whereis(names[i%len(names)]); err != nil || rec.Name != names[i%len(names)] {
			t.Fatal(rec, err)
		}
		i++
	})
	if n != 0 {
		t.Errorf("Whereis allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { r.Whereis("nobody") }); n != 0 {
		t.Errorf("Whereis of a name that nobody holds allocates %v times", n)
	}
}

func BenchmarkWhereis(b *testing.B) {
	v, names := bigView(b, 100_000)
	r := &Registry{view: v}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := r.Whereis(names[i]); err != nil {
				b.Fatal(err)
			}
			if i++; i == len(names) {
				i = 0
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.N(len(names)); pb.Next(); {
				if _, err := r.Whereis(names[i]); err != nil {
					b.Error(err)
					return
				}
				if i++; i == len(names) {
					i = 0
				}
			}
		})
	})
}
