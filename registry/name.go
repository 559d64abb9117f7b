package registry

import (
	"fmt"
	"strings"
)

// The grammar of names, groups and scopes: labels joined by dots. A label is a DNS label, and so also one token of a NATS subject and one
// segment of a URL.
const (
	MaxLabel  = 63  // bytes in one label
	MaxLabels = 8   // labels in one name
	MaxName   = 128 // bytes in one name
)

// ParseName checks a name or the name of a group, folds upper case and returns it. The error is a *NameError (ErrBadName) that says what is
// wrong with it. A name that is already lower case is returned as it is, without an allocation.
func ParseName(name string) (string, error) {
	folded, why := foldName(name, MaxLabels)
	if why != "" {
		return "", &NameError{Name: name, Why: why}
	}
	return folded, nil
}

// ParseScope checks the name of a scope: one label, as it becomes part of the name of a bucket.
func ParseScope(scope string) (string, error) {
	folded, why := foldName(scope, 1)
	if why != "" {
		return "", &NameError{Name: scope, Why: why}
	}
	return folded, nil
}

func foldName(name string, labels int) (folded, why string) {
	if name == "" {
		return "", "it is empty"
	}
	if len(name) > MaxName {
		return "", fmt.Sprintf("it has %d bytes, %d is the most", len(name), MaxName)
	}
	upper, start, count := false, 0, 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			switch n := i - start; {
			case n == 0:
				return "", "a label is empty"
			case n > MaxLabel:
				return "", fmt.Sprintf("a label has %d bytes, %d is the most", n, MaxLabel)
			case name[start] == '-' || name[i-1] == '-':
				return "", "a label begins or ends with a hyphen"
			}
			if count++; count > labels {
				return "", fmt.Sprintf("it has more labels than %d", labels)
			}
			start = i + 1
			continue
		}
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		case c >= 'A' && c <= 'Z':
			upper = true
		default:
			return "", fmt.Sprintf("%q is not a letter, digit, hyphen or dot", name[i:i+1])
		}
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, ""
}
