package registry

import (
	"errors"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		yes, not string
	}{
		{">", "a a.b a.b.c", ""},
		{"*", "a b-1", "a.b"},
		{"a", "a", "b a.a aa"},
		{"A.B", "a.b", "a a.b.c"},
		{"a.>", "a.b a.b.c", "a aa.b b.a"},
		{"team-a.>", "team-a.x", "team-a team-ab.x team-b.x team.x"},
		{"*.weather", "a.weather b-2.weather", "weather a.b.weather a.weather.b aweather"},
		{"a.*.c", "a.b.c a.c.c", "a.c a.b.b.c a.b.cc aa.b.c"},
		{"a.*", "a.b", "a a.b.c"},
		{"*.*", "a.b", "a a.b.c"},
		{"*.>", "a.b a.b.c", "a"},
		{"*.b.>", "a.b.c a.b.c.d", "a.b b.c a.c.b"},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != strings.ToLower(c.pattern) {
			t.Errorf("%q became %q", c.pattern, p)
		}
		for _, name := range strings.Fields(c.yes) {
			if !p.Match(name) {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
		}
		for _, name := range append(strings.Fields(c.not), "") {
			if p.Match(name) {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
	}
	var zero Pattern
	if !zero.Match("a.b") || zero.String() != ">" {
		t.Error("the zero Pattern is not every name")
	}
}

func TestPatternErrors(t *testing.T) {
	for text, why := range map[string]string{
		"": "empty", "a..b": "empty", ".": "empty", "a.": "empty", ">.a": "last label", "wea*": "whole label", "a.>b": "whole label", "**": "whole label",
		"a b": "not a letter", "-a": "hyphen", "a.b.c.d.e.f.g.h.*": "more labels", strings.Repeat("a.", 70): "bytes",
		strings.Repeat("x", 64): "63 is the most",
	} {
		_, err := ParsePattern(text)
		var pe *PatternError
		if !errors.Is(err, ErrBadPattern) || !errors.As(err, &pe) || pe.Pattern != text || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want one that says %q", text, err, why)
		}
	}
}

// matchSlowly is the grammar said a second time, label by label.
func matchSlowly(pattern, name []string) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case len(name) == 0:
		return false
	case pattern[0] == ">":
		return true
	}
	return (pattern[0] == "*" || pattern[0] == name[0]) && matchSlowly(pattern[1:], name[1:])
}

// FuzzPattern: a pattern that parses is its own text, matches what its grammar says, and what it matches lies in the ranges that its head and
// tail name.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{">", "*", "a.>", "*.weather", "a.*.c", "A.b", "", "a..b", ">.>", "*.*.>", "a.b.c.d.e.f.g.h"} {
		f.Add(s, "a.b.c")
		f.Add(s, "team-a.weather")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := ParsePattern(text)
		if err != nil {
			if !errors.Is(err, ErrBadPattern) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || again != p {
			t.Fatalf("%q became %q (%v), then %+v", text, p, err, again)
		}
		name, err = ParseName(name)
		if err != nil {
			return
		}
		want := matchSlowly(strings.Split(p.String(), "."), strings.Split(name, "."))
		if got := p.Match(name); got != want {
			t.Fatalf("%q and %q: %v, want %v", p, name, got, want)
		}
		if want && (!strings.HasPrefix(name, p.head) || !strings.HasSuffix(name, p.tail)) {
			t.Fatalf("%q of %q is not between %q and %q", name, p, p.head, p.tail)
		}
		if own := strings.NewReplacer("*", "x", ">", "x.y").Replace(p.String()); strings.Count(own, ".") < MaxLabels && !p.Match(own) {
			t.Fatalf("%q does not match %q", p, own)
		}
	})
}

func TestPatternMatchDoesNotAllocate(t *testing.T) {
	p, err := ParsePattern("*.b.*.d")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if !p.Match("a.b.c.d") || p.Match("a.b.c.e") {
			t.Fatal("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
