package bus_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/toolbus/toolbus/bus"
)

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '/' || c == '-'
}

func TestEscapeToken(t *testing.T) {
	for in, want := range map[string]string{
		"tools/call": "tools/call",
		"a.b*>c d":   "a%2Eb%2A%3Ec%20d",
		"100%":       "100%25",
		"":           "",
		"é":          "%C3%A9",
		"\x00\xff":   "%00%FF",
	} {
		if got := bus.EscapeToken(in, plain); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for _, bad := range []string{"%", "%2", "a%2", "%2e", "%GG", "%%25"} {
		if got, err := bus.UnescapeToken(bad); !errors.Is(err, bus.ErrBadSubject) {
			t.Errorf("%q is read as %q, %v", bad, got, err)
		}
	}
}

// FuzzEscapeToken: any text comes back, and is one token that a subject may have.
func FuzzEscapeToken(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "%", "*", ">", " \r\n", "\xff", "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token := bus.EscapeToken(s, plain)
		back, err := bus.UnescapeToken(token)
		if err != nil || back != s {
			t.Fatalf("%q becomes %q becomes %q, %v", s, token, back, err)
		}
		if s != "" && len(token) <= bus.MaxSubject-2 {
			if err := bus.CheckSubject("x." + token); err != nil {
				t.Fatalf("%q: %v", token, err)
			}
		}
		// And what is accepted has one way to be written only.
		if text, err := bus.UnescapeToken(s); err == nil && !strings.Contains(s, "%") && text != s {
			t.Fatalf("%q is read as %q", s, text)
		}
	})
}

// FuzzCheckSubject: what passes is what NATS takes: tokens, none of them empty or wild.
func FuzzCheckSubject(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a..b", "*", "a.*", ">", "a.>", ">.a", "a*", " ", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ok, wild := bus.CheckSubject(s) == nil, bus.CheckPattern(s) == nil
		if ok && !wild {
			t.Fatalf("%q may be published on but not subscribed to", s)
		}
		if !wild {
			return
		}
		tokens := strings.Split(s, ".")
		for i, token := range tokens {
			switch {
			case token == "", strings.ContainsAny(token, " \t\r\n\x00"):
				t.Fatalf("%q passes", s)
			case ok && (token == "*" || token == ">"):
				t.Fatalf("%q passes for a subject", s)
			case token == ">" && i < len(tokens)-1:
				t.Fatalf("%q passes for a pattern", s)
			}
		}
	})
}
