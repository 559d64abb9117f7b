package aggregate

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxExposed is the longest name of a tool or prompt that every model accepts.
const maxExposed = 64

// plainName is what a tool or prompt of a server is called here, and whether models accept that.
func plainName(server, name string) (string, bool) {
	plain := strings.ReplaceAll(server, ".", "_") + "__" + name
	if len(plain) > maxExposed {
		return plain, false
	}
	for i := range len(plain) {
		if !accepted(rune(plain[i])) {
			return plain, false
		}
	}
	return plain, true
}

// hashedName is a name that models accept in the place of one that they do not: its beginning, and so many digits of the hash of what it stands for.
func hashedName(server, name string, digits int) string {
	sum := sha256.Sum256([]byte(server + "\x00" + name))
	plain, _ := plainName(server, name)
	clean := strings.Map(func(r rune) rune {
		if accepted(r) {
			return r
		}
		return '_'
	}, plain)
	return clean[:min(len(clean), maxExposed-1-digits)] + "_" + hex.EncodeToString(sum[:])[:digits]
}

func accepted(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

// hashDigits are tried one after the other, in the unlikely case that a hashed name is taken.
var hashDigits = [...]int{8, 16, 32, 60}
