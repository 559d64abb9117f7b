package bus

import (
	"fmt"
	"strings"
)

// MaxSubject is the longest subject that the bus sends, in bytes. A server closes a connection whose control line (subject, reply
// subject, sizes) is over 4,096 bytes, with every call that is on it; so a long one is refused here.
const MaxSubject = 3072

// CheckSubject checks a subject to publish on: one or more tokens joined by dots, none empty, no wildcards, white space or control
// characters. The error is ErrBadSubject.
func CheckSubject(subject string) error { return checkSubject(subject, false) }

// CheckPattern checks a subject to subscribe to, where a token may be "*" and the last one ">".
func CheckPattern(subject string) error { return checkSubject(subject, true) }

func checkSubject(subject string, wild bool) error {
	if len(subject) > MaxSubject {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBadSubject, len(subject), MaxSubject)
	}
	start := 0
	for i := 0; i <= len(subject); i++ {
		if i < len(subject) && subject[i] != '.' {
			if c := subject[i]; c <= ' ' || c == 0x7f {
				return fmt.Errorf("%w: %q has white space or a control character", ErrBadSubject, subject)
			}
			continue
		}
		switch token := subject[start:i]; {
		case token == "":
			return fmt.Errorf("%w: %q has an empty token", ErrBadSubject, subject)
		case (token == "*" || token == ">") && !wild:
			return fmt.Errorf("%w: %q has a wildcard", ErrBadSubject, subject)
		case token == ">" && i < len(subject):
			return fmt.Errorf("%w: %q has tokens after >", ErrBadSubject, subject)
		}
		start = i + 1
	}
	return nil
}

// EscapeToken writes s as one token of a subject: bytes for which keep is false become %XX, in upper case. keep must be false for '%',
// '.', white space and wildcards. UnescapeToken is its inverse.
func EscapeToken(s string, keep func(c byte) bool) string {
	n := 0
	for i := range len(s) {
		if !keep(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 2*n)
	for i := range len(s) {
		if c := s[i]; keep(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// UnescapeToken reads what EscapeToken wrote. It accepts nothing else: an escape in lower case or cut short is ErrBadSubject, so that two
// different tokens never mean the same.
func UnescapeToken(token string) (string, error) {
	if !strings.Contains(token, "%") {
		return token, nil
	}
	digit := func(c byte) int {
		switch {
		case c >= '0' && c <= '9':
			return int(c - '0')
		case c >= 'A' && c <= 'F':
			return int(c-'A') + 10
		}
		return -1
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) || digit(token[i+1]) < 0 || digit(token[i+2]) < 0 {
			return "", fmt.Errorf("%w: bad escape in token %q", ErrBadSubject, token)
		}
		b.WriteByte(byte(digit(token[i+1])<<4 | digit(token[i+2])))
		i += 2
	}
	return b.String(), nil
}
