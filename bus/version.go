package bus

import (
	"fmt"
	"strconv"
	"strings"
)

// MinServerVersion is the oldest nats-server that will do. Guards of an atomic batch on another subject, which leases hang on, were wrong
// before.
const MinServerVersion = "2.14.4"

// CheckVersion compares a server's version with MinServerVersion. It returns an error that is ErrTooOld for an older one; a pre-release
// of the minimum counts as older, and a text that is no version is an error as well.
func CheckVersion(version string) error {
	have, pre, ok := parseVersion(version)
	if !ok {
		return fmt.Errorf("%w: version %q is not understood; %s or newer is needed", ErrTooOld, version, MinServerVersion)
	}
	want, _, _ := parseVersion(MinServerVersion)
	for i := range want {
		if have[i] > want[i] {
			return nil
		}
		if have[i] < want[i] {
			return fmt.Errorf("%w: it is %s, %s or newer is needed", ErrTooOld, version, MinServerVersion)
		}
	}
	if pre {
		return fmt.Errorf("%w: it is %s, %s or newer is needed", ErrTooOld, version, MinServerVersion)
	}
	return nil
}

func parseVersion(text string) (v [3]int, pre, ok bool) {
	text = strings.TrimPrefix(text, "v")
	text, _, _ = strings.Cut(text, "+")
	text, suffix, pre := strings.Cut(text, "-")
	if pre && suffix == "" {
		return v, false, false
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return v, false, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return v, false, false
		}
		v[i] = int(n)
	}
	return v, pre, true
}
