package registry

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestSelector(t *testing.T) {
	labels := map[string]string{"type": "tool", "lang": "go", "empty": "", "app.kubernetes.io/name": "x", "in": "y"}
	for text, want := range map[string]bool{
		"": true, "type=tool": true, "type==tool": true, "type=prompt": false, "none=": false, "empty=": true, "empty==": true, "empty!=": false,
		"lang!=go": false, "lang!=rust": true, "none!=go": true, "type": true, "none": false, "!type": false, "! none": true,
		"lang in (go, rust)": true, "lang in (rust)": false, "lang notin (rust,c)": true, "lang notin (go)": false, "none notin (go)": true,
		"none in ()": false, "empty in ()": true, "type=tool,lang!=rust,!none": true, "type=tool , lang=rust": false, "app.kubernetes.io/name=x": true,
		"in": true, "in=y": true, "in in (y)": true, "in notin (in)": true, "\ttype\n=\ttool ": true, "lang=Go": false, "lang in(go)": true,
	} {
		s, err := ParseSelector(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := s.Match(labels); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if !(Selector{}).Match(nil) || !(Selector{}).Empty() {
		t.Error("the zero Selector does not choose everything")
	}
}

func TestSelectorErrors(t *testing.T) {
	for text, want := range map[string]struct {
		at  int
		why string
	}{
		",": {0, "found ','"}, "a,": {2, "found the end"}, "a b": {2, "found 'b'"}, "a in": {4, "( is due"}, "a in (": {6, "found the end"}, "a in (b": {7, "found the end"},
		"a in (b c)": {8, "found 'c'"}, "a=b c": {4, "found 'c'"}, "!": {1, "found the end"}, "!a=b": {2, "found '='"}, "=b": {0, "found '='"}, "a>1": {1, "not more or less"},
		"a=b=c": {3, "found '='"}, "(a)": {0, "found '('"}, "a in (b),": {9, "the end"}, "a is b": {2, "found 'i'"}, "a\x00": {1, "found"},
		strings.Repeat("a,", 64) + "a":             {129, "more conditions"},
		"a in (" + strings.Repeat("b,", 64) + "b)": {135, "more values"},
		"a=" + strings.Repeat("b", MaxSelector):    {0, "4096 is the most"},
	} {
		_, err := ParseSelector(text)
		var se *SelectorError
		if !errors.Is(err, ErrBadSelector) || !errors.As(err, &se) || se.Selector != text || se.At != want.at || !strings.Contains(se.Why, want.why) {
			t.Errorf("%q: %+v, want %q at %d", text, se, want.why, want.at)
		}
	}
}

// FuzzSelector: no text makes the parser panic, and a selector written out is the same selector.
func FuzzSelector(f *testing.F) {
	for _, s := range []string{"", "type=tool,lang!=go", "a in (b,c)", "a notin (,)", "!k", "k", "a==", "in in (in)", "a>1", "((", "a in (b", "\xff=\xfe", "é=ü"} {
		f.Add(s, "type", "tool")
		f.Add(s, "a", "b")
	}
	f.Fuzz(func(t *testing.T, text, key, value string) {
		s, err := ParseSelector(text)
		if err != nil {
			var se *SelectorError
			if !errors.As(err, &se) || se.At < 0 || se.At > len(text) || !s.Empty() {
				t.Fatalf("%q: %+v", text, err)
			}
			return
		}
		again, err := ParseSelector(s.String())
		if err != nil || again.String() != s.String() || len(again.conditions) != len(s.conditions) {
			t.Fatalf("%q became %q, then %q (%v)", text, s, again, err)
		}
		for _, labels := range []map[string]string{nil, {key: value}, {key: ""}} {
			if s.Match(labels) != again.Match(labels) {
				t.Fatalf("%q and %q differ on %v", text, s, labels)
			}
		}
		for _, c := range s.conditions { // each condition parts the world in two
			not := condition{c.key, map[operator]operator{has: hasNot, hasNot: has, in: notIn, notIn: in}[c.op], c.values}
			if labels := map[string]string{key: value}; c.match(labels) == not.match(labels) {
				t.Fatalf("%+v and its opposite agree on %v", c, labels)
			}
		}
		if !slices.EqualFunc(s.conditions, again.conditions, func(a, b condition) bool { return a.key == b.key && a.op == b.op && slices.Equal(a.values, b.values) }) {
			t.Fatalf("%+v became %+v", s, again)
		}
	})
}
