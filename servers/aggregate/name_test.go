package aggregate

import (
	"strings"
	"testing"
)

func TestNamesAreAccepted(t *testing.T) {
	long := strings.Repeat("x", 60)
	for _, c := range []struct{ server, name, want string }{
		{"weather", "get", "weather__get"},
		{"team-a.weather", "get", "team-a_weather__get"},
		{"a", long + "x", "a__" + long + "x"},
	} {
		got, ok := plainName(c.server, c.name)
		if !ok || got != c.want || len(got) > 64 {
			t.Errorf("%s, %s: %q, %v", c.server, c.name, got, ok)
		}
	}
	seen := map[string]string{}
	for _, name := range []string{"a.b", "a b", "a/b", "ä", "ö", long + "xx", long + "xy"} {
		if plain, ok := plainName("srv", name); ok {
			t.Errorf("%q is accepted", plain)
		}
		for _, digits := range hashDigits {
			got := hashedName("srv", name, digits)
			if len(got) > 64 || strings.ContainsFunc(got, func(r rune) bool { return !accepted(r) }) || digits < 60 && !strings.HasPrefix(got, "srv__") {
				t.Errorf("%s: %q", name, got)
			}
			if other, ok := seen[got]; ok {
				t.Errorf("%q stands for %s and %s", got, name, other)
			}
			seen[got] = name
		}
	}
}
