package registry

import (
	"errors"
	"fmt"
	"strings"
)

// ErrBadPattern: a text is no pattern of names. The error is a *PatternError.
var ErrBadPattern = errors.New("registry: not a pattern")

// PatternError says why a text cannot be a pattern.
type PatternError struct{ Pattern, Why string }

// Error says the text and what is wrong with it.
func (e *PatternError) Error() string {
	return fmt.Sprintf("registry: %q is not a pattern: %s", e.Pattern, e.Why)
}

// Is reports that a PatternError is ErrBadPattern.
func (e *PatternError) Is(target error) bool { return target == ErrBadPattern }

// Pattern stands for many names, as a subject with wildcards does in NATS: "*" is any one label, ">" at the end is one label or more, and all
// else is itself. "team-a.>" is every name below team-a, but not team-a; "*.weather" is the weather of any team. The zero Pattern is
// every name.
type Pattern struct {
	text string
	head string // what every name of it begins with: the labels before the first wildcard, with a dot after them
	tail string // what every name of it ends with: the labels after the last wildcard, with a dot before them
	kind patternKind
}

// patternKind says how much there is to compare.
type patternKind uint8

const (
	every   patternKind = iota // ">" or the zero Pattern
	literal                    // no wildcard: one name
	below                      // ">" after labels: the head says it all
	mixed
)

// ParsePattern reads a pattern; upper case is folded. The error is a *PatternError (ErrBadPattern). A wildcard is a whole label: "wea*" is none.
func ParsePattern(text string) (Pattern, error) {
	bad := func(why string) (Pattern, error) { return Pattern{}, &PatternError{Pattern: text, Why: why} }
	if len(text) > MaxName {
		return bad(fmt.Sprintf("it has %d bytes, %d is the most", len(text), MaxName))
	}
	labels := strings.Split(text, ".")
	if len(labels) > MaxLabels {
		return bad(fmt.Sprintf("it has more labels than %d", MaxLabels))
	}
	p := Pattern{text: strings.ToLower(text)}
	first, last := len(labels), -1 // wildcards
	for i, label := range labels {
		switch {
		case label == "*" || label == ">" && i == len(labels)-1:
			first, last = min(first, i), i
		case label == ">":
			return bad("> is not its last label")
		case label == "":
			return bad("a label is empty")
		case strings.ContainsAny(label, "*>"):
			return bad(fmt.Sprintf("a wildcard is a whole label, %q is not", label))
		default:
			if _, why := foldName(label, 1); why != "" {
				return bad(why)
			}
			labels[i] = strings.ToLower(label)
		}
	}
	if last < 0 {
		p.kind = literal
		return p, nil
	}
	if first > 0 {
		p.head = strings.Join(labels[:first], ".") + "."
	}
	if last+1 < len(labels) {
		p.tail = "." + strings.Join(labels[last+1:], ".")
	}
	switch {
	case labels[last] != ">" || first != last:
		p.kind = mixed
	case first > 0:
		p.kind = below
	}
	return p, nil
}

// String is the pattern as text; ">" for the zero Pattern.
func (p Pattern) String() string {
	if p.text == "" {
		return ">"
	}
	return p.text
}

// Match tells whether name, in lower case, is one of the pattern's. It does not allocate.
func (p Pattern) Match(name string) bool {
	switch p.kind {
	case every:
		return name != ""
	case literal:
		return name == p.text
	case below:
		return len(name) > len(p.head) && strings.HasPrefix(name, p.head)
	}
	if !strings.HasPrefix(name, p.head) || !strings.HasSuffix(name, p.tail) {
		return false
	}
	pattern, more := p.text, true
	for more {
		var want, label string
		want, pattern, more = strings.Cut(pattern, ".")
		if want == ">" {
			return name != ""
		}
		var rest bool
		label, name, rest = strings.Cut(name, ".")
		if label == "" || want != "*" && want != label || rest != more {
			return false
		}
	}
	return true
}
