package kvstore

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestCheckKey(t *testing.T) {
	good := []string{"a", "names.calc", "leases.Zz09_-/=", "a.b.c", strings.Repeat("k", MaxKey), "=", "/"}
	for _, key := range good {
		if err := CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	bad := []string{"", ".", "a.", ".a", "a..b", "a b", "a*", ">", "a.>", "ä", "a\x00", "a\r\nb", "a:b", strings.Repeat("k", MaxKey+1)}
	for _, key := range bad {
		if err := CheckKey(key); !errors.Is(err, ErrBadKey) {
			t.Errorf("%q: %v, want ErrBadKey", key, err)
		}
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, seed := range []string{"", "a", "a.b", "a..b", ".a", "a.", "a b", "\xff", "names.x-y/z=_"} {
		f.Add(seed)
	}
	grammar := regexp.MustCompile(`\A[A-Za-z0-9_/=-]+(\.[A-Za-z0-9_/=-]+)*\z`)
	f.Fuzz(func(t *testing.T, key string) {
		err := CheckKey(key)
		want := len(key) <= MaxKey && grammar.MatchString(key)
		if want != (err == nil) {
			t.Fatalf("%q: %v, the grammar says %v", key, err, want)
		}
		if err != nil && !errors.Is(err, ErrBadKey) {
			t.Fatalf("%q: %v is not ErrBadKey", key, err)
		}
	})
}
