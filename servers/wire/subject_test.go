package wire

import (
	"strings"
	"testing"
)

func TestTokensAreInjective(t *testing.T) {
	cases := map[string]string{
		"":                 "_",
		"_":                "%5F",
		"__":               "__",
		"tools/call":       "tools%2Fcall",
		"admin.tools.list": "admin%2Etools%2Elist",
		"a b":              "a%20b",
		">":                "%3E",
		"*":                "%2A",
		"%5F":              "%255F",
		"\x00\n":           "%00%0A",
		"größe":            "gr%C3%B6%C3%9Fe",
	}
	for in, want := range cases {
		got := TargetToken(in)
		if got != want {
			t.Errorf("TargetToken(%q) = %q, want %q", in, got, want)
		}
		if back, ok := Unescape(got); !ok || back != in {
			t.Errorf("Unescape(%q) = %q, %v, want %q", got, back, ok, in)
		}
	}
	if got := MethodToken("tools/call"); got != "tools/call" {
		t.Errorf("MethodToken escapes the slash: %q", got)
	}
	if MethodToken("_") != "%5F" || MethodToken("a.b") != "a%2Eb" {
		t.Error("MethodToken lets special bytes through")
	}
}

func TestLongTokensAreHashed(t *testing.T) {
	fits, over := strings.Repeat("x", 512), strings.Repeat("x", 513)
	if TargetToken(fits) != fits {
		t.Error("512 bytes need no hash")
	}
	got := TargetToken(over)
	if len(got) != 66 || !strings.HasPrefix(got, "%~") {
		t.Errorf("token of 513 bytes: %q", got)
	}
	if got == TargetToken(over+"y") {
		t.Error("two targets, one token")
	}
	if _, ok := Unescape(got); ok {
		t.Error("a hash was taken for a target")
	}
	// Escaping counts: 171 dots are 513 bytes.
	if got := TargetToken(strings.Repeat(".", 171)); !strings.HasPrefix(got, "%~") {
		t.Errorf("171 escaped bytes: %q", got)
	}
}

func TestSubjectHasOneSpelling(t *testing.T) {
	good := []string{
		"mcp.v1.default.rq.tools/call.echo.weather",
		"mcp.v1.default.rq.tools/list._.team-a.weather",
		"mcp.v1.default.gr.tools/call.%5F.tools",
		"mcp.v1.default.in.Ab0.s1.tools/call.echo.weather",
		"mcp.v1.default.in.Ab0._._._.weather",
		"mcp.v1.default.rq.x%2Ey.%~" + strings.Repeat("0a", 32) + ".w",
	}
	for _, s := range good {
		got, err := ParseSubject(s)
		if err != nil {
			t.Errorf("ParseSubject(%q): %v", s, err)
		} else if got.String() != s {
			t.Errorf("ParseSubject(%q) builds %q", s, got)
		}
	}
	bad := []string{
		"", "mcp", "mcp.v1", "mcp.v2.default.rq.a._.n", "mcp.v1.default.xx.a._.n", "mcp.v1.default.rq.a._", "mcp.v1.default.rq.a._.",
		"mcp.v1.default.rq.%74ools/list._.n", // an escape that is not needed
		"mcp.v1.default.rq.a.%2e.n",          // lower case
		"mcp.v1.default.rq.a.a/b.n",          // a slash in a target
		"mcp.v1.default.rq.a.%.n", "mcp.v1.default.rq.a.%~ab.n", "mcp.v1.default.rq.a.%~" + strings.Repeat("0A", 32) + ".n",
		"mcp.v1.default.rq.a._.Upper", "mcp.v1.default.rq.a._.-x", "mcp.v1.default.rq..x.n", "mcp.v1.default.rq.a..n",
		"mcp.v1.default.in.i.a._", "mcp.v1.default.in..s.a._.n", "mcp.v1.default.in.i..a._.n", "mcp.v1._.rq.a._.n",
		"mcp.v1.default.rq.a.*.n", "mcp.v1.default.rq.a._.>",
	}
	for _, s := range bad {
		if got, err := ParseSubject(s); err == nil {
			t.Errorf("ParseSubject(%q) = %+v, want an error", s, got)
		}
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "_", "%5F", "a.b", "tools/call", "\xff", strings.Repeat("é", 300)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, slash := range []bool{true, false} {
			x, y := token(a, slash), token(b, slash)
			if (x == y) != (a == b) {
				t.Fatalf("%q and %q have the tokens %q and %q", a, b, x, y)
			}
			if !validToken(x, slash) || len(x) > maxToken || strings.ContainsAny(x, ".*> \t\r\n\x00") {
				t.Fatalf("token of %q is no token: %q", a, x)
			}
			if back, ok := Unescape(x); ok && back != a {
				t.Fatalf("%q comes back as %q", a, back)
			} else if !ok && !strings.HasPrefix(x, hashed) {
				t.Fatalf("%q does not come back from %q", a, x)
			}
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add("mcp.v1.default.rq.tools/call.echo.weather")
	f.Add("mcp.v1.default.in.Ab0._._._.team-a.weather")
	f.Add("mcp.v1.default.gr.tools/call.%5F.tools")
	f.Fuzz(func(t *testing.T, subject string) {
		s, err := ParseSubject(subject)
		if err == nil && s.String() != subject {
			t.Fatalf("%q was taken for %q", subject, s)
		}
	})
}
