package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrBadSelector: a text is no selector of labels. The error is a *SelectorError.
var ErrBadSelector = errors.New("registry: not a selector")

// SelectorError says why a text cannot be a selector, and where.
type SelectorError struct {
	Selector string
	At       int // the byte at which the fault was found
	Why      string
}

// Error says the text, what is wrong with it and where.
func (e *SelectorError) Error() string {
	return fmt.Sprintf("registry: %q is not a selector: %s at %d", e.Selector, e.Why, e.At)
}

// Is reports that a SelectorError is ErrBadSelector.
func (e *SelectorError) Is(target error) bool { return target == ErrBadSelector }

// Limits of a selector.
const (
	MaxSelector  = 4096 // bytes
	maxCondition = 64   // conditions in one, and values in one condition
)

// Selector chooses by labels, in the grammar of Kubernetes: conditions joined by commas, all of which have to be true.
//
//	type=tool            has the label type, and it is tool (also ==)
//	lang!=go             has no label lang, or it is not go
//	region in (eu,us)    has the label region, and it is one of these
//	region notin (eu,us) has no label region, or it is none of these
//	gpu                  has the label gpu, whatever it is
//	!gpu                 has no label gpu
//
// A key or value is a run of bytes other than space, comma, brackets and = ! < >; a value may be empty. Case counts. The zero Selector
// chooses everything.
type Selector struct{ conditions []condition }

// condition is one requirement on one label.
type condition struct {
	key    string
	op     operator
	values []string // sorted, without repetition; none for has and hasNot
}

type operator uint8

const (
	has    operator = iota // key
	hasNot                 // !key
	in                     // key=v, key in (...)
	notIn                  // key!=v, key notin (...)
)

// Match tells whether labels fulfil every condition.
func (s Selector) Match(labels map[string]string) bool {
	for i := range s.conditions {
		if !s.conditions[i].match(labels) {
			return false
		}
	}
	return true
}

func (c *condition) match(labels map[string]string) bool {
	value, there := labels[c.key]
	switch c.op {
	case has:
		return there
	case hasNot:
		return !there
	case in:
		return there && slices.Contains(c.values, value)
	default:
		return !there || !slices.Contains(c.values, value)
	}
}

// Empty tells whether the selector has no condition.
func (s Selector) Empty() bool { return len(s.conditions) == 0 }

// String is the selector as text, which ParseSelector reads as the same selector.
func (s Selector) String() string {
	var b strings.Builder
	for i, c := range s.conditions {
		if i > 0 {
			b.WriteByte(',')
		}
		switch {
		case c.op == has:
			b.WriteString(c.key)
		case c.op == hasNot:
			b.WriteString("!" + c.key)
		case len(c.values) == 1 && c.op == in:
			b.WriteString(c.key + "=" + c.values[0])
		case len(c.values) == 1:
			b.WriteString(c.key + "!=" + c.values[0])
		case c.op == in:
			b.WriteString(c.key + " in (" + strings.Join(c.values, ",") + ")")
		default:
			b.WriteString(c.key + " notin (" + strings.Join(c.values, ",") + ")")
		}
	}
	return b.String()
}

// ParseSelector reads a selector; an empty text is one that chooses everything. The error is a *SelectorError (ErrBadSelector).
func ParseSelector(text string) (Selector, error) {
	p := selectorParser{text: text}
	s := p.parse()
	if p.why != "" {
		return Selector{}, &SelectorError{Selector: text, At: p.faulty, Why: p.why}
	}
	return s, nil
}
