package kvstore

import (
	"fmt"
	"strings"
)

// CheckKey tells whether key can be one: 1 to MaxKey bytes of [A-Za-z0-9_/=-] and dots, with no dot first, last, or beside
// another. The error is ErrBadKey with the reason. The grammar is that of NATS' own key-value buckets, so that every
// key is one for the nats CLI too; it has no wildcard, no space and no byte above 127, so a key cannot become another subject.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrBadKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: %d bytes, %d at most; it begins %q", ErrBadKey, len(key), MaxKey, key[:40])
	case key[0] == '.' || key[len(key)-1] == '.':
		return fmt.Errorf("%w: a dot first or last: %q", ErrBadKey, key)
	case strings.Contains(key, ".."):
		return fmt.Errorf("%w: two dots together: %q", ErrBadKey, key)
	}
	for i := range len(key) {
		if !keyByte(key[i]) {
			return fmt.Errorf("%w: byte %q at %d: %q", ErrBadKey, key[i], i, key)
		}
	}
	return nil
}

func keyByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '-' || c == '_' || c == '/' || c == '='
}
