package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// span is a piece of a message: the bytes from..to of a value as it stands there. The zero span is no value.
type span struct{ from, to int }

func (s span) of(raw []byte) json.RawMessage {
	if s.to == 0 {
		return nil
	}
	return raw[s.from:s.to:s.to]
}

// scanner walks one JSON text once, without building anything. It accepts exactly what encoding/json calls valid.
type scanner struct {
	raw     []byte
	pos     int
	newline bool // a line break stands between two tokens
	nested  []byte
}

var errSyntax = errors.New("wire: not a JSON text")

// maxDepth is encoding/json's limit on nesting.
const maxDepth = 10000

func (s *scanner) space() {
	for s.pos < len(s.raw) {
		switch s.raw[s.pos] {
		case '\n', '\r':
			s.newline = true
		case ' ', '\t':
		default:
			return
		}
		s.pos++
	}
}

func (s *scanner) peek() byte {
	if s.pos < len(s.raw) {
		return s.raw[s.pos]
	}
	return 0
}

// object reads an object and calls member for each of its members, which must read the value. The scanner stands on the brace.
func (s *scanner) object(member func(key string) error) error {
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		s.space()
		at, err := s.text()
		if err != nil {
			return err
		}
		s.space()
		if s.peek() != ':' {
			return errSyntax
		}
		s.pos++
		s.space()
		if err := member(decodeKey(s.raw[at.from:at.to])); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return errSyntax
		}
	}
}

// value reads any value, however deep, without recursion.
func (s *scanner) value() (span, error) {
	from := s.pos
	s.nested = s.nested[:0]
	for {
		s.space()
		opened := false
		switch c := s.peek(); {
		case c == '{' || c == '[':
			if len(s.nested) >= maxDepth {
				return span{}, errSyntax
			}
			s.nested = append(s.nested, c+2) // '}' and ']' follow their partners by two
			s.pos++
			s.space()
			if s.peek() != c+2 {
				if c == '{' {
					if err := s.key(); err != nil {
						return span{}, err
					}
				}
				opened = true
			}
		case c == '"':
			if _, err := s.text(); err != nil {
				return span{}, err
			}
		default:
			if err := s.word(); err != nil {
				return span{}, err
			}
		}
		if opened {
			continue
		}
		// A value has ended: close what ends with it, until another one follows.
		for next := false; !next; {
			if len(s.nested) == 0 {
				return span{from, s.pos}, nil
			}
			end := s.nested[len(s.nested)-1]
			s.space()
			switch s.peek() {
			case end:
				s.pos++
				s.nested = s.nested[:len(s.nested)-1]
			case ',':
				s.pos++
				if end == '}' {
					if err := s.key(); err != nil {
						return span{}, err
					}
				}
				next = true
			default:
				return span{}, errSyntax
			}
		}
	}
}

func (s *scanner) key() error {
	s.space()
	if _, err := s.text(); err != nil {
		return err
	}
	s.space()
	if s.peek() != ':' {
		return errSyntax
	}
	s.pos++
	return nil
}

// text reads a string with its quotes.
func (s *scanner) text() (span, error) {
	if s.peek() != '"' {
		return span{}, errSyntax
	}
	from := s.pos
	raw := s.raw
	for i := s.pos + 1; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			s.pos = i + 1
			return span{from, s.pos}, nil
		case c < 0x20:
			return span{}, errSyntax
		case c == '\\':
			if i++; i >= len(raw) {
				return span{}, errSyntax
			}
			switch raw[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(raw) || !hexDigit(raw[i]) {
						return span{}, errSyntax
					}
				}
			default:
				return span{}, errSyntax
			}
		}
	}
	return span{}, errSyntax
}

// word reads a number, true, false or null.
func (s *scanner) word() error {
	rest := s.raw[s.pos:]
	for _, w := range [...]string{"true", "false", "null"} {
		if len(rest) >= len(w) && string(rest[:len(w)]) == w {
			s.pos += len(w)
			return nil
		}
	}
	i := 0
	digits := func() bool {
		n := i
		for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
			i++
		}
		return i > n
	}
	if i < len(rest) && rest[i] == '-' {
		i++
	}
	if i < len(rest) && rest[i] == '0' {
		i++
	} else if !digits() {
		return errSyntax
	}
	if i < len(rest) && rest[i] == '.' {
		if i++; !digits() {
			return errSyntax
		}
	}
	if i < len(rest) && (rest[i] == 'e' || rest[i] == 'E') {
		if i++; i < len(rest) && (rest[i] == '+' || rest[i] == '-') {
			i++
		}
		if !digits() {
			return errSyntax
		}
	}
	s.pos += i
	return nil
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// decodeKey gives the text of a member's name. What cannot be told for certain comes back with U+FFFD in it.
func decodeKey(quoted []byte) string {
	s, _ := decodeText(quoted)
	return s
}

// decodeText gives the text of a JSON string; false if two readers could read it differently (bad UTF-8, half a surrogate pair).
func decodeText(quoted []byte) (string, bool) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), true
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "\ufffd", false
	}
	return s, !strings.ContainsRune(s, utf8.RuneError)
}

// syntaxError says where a text stops to be JSON.
func (s *scanner) syntaxError() error {
	return fmt.Errorf("%w at byte %d of %d", errSyntax, s.pos, len(s.raw))
}
