package kvstore

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

var (
	// ErrBadPattern: the pattern cannot be one; nothing was sent.
	ErrBadPattern = errors.New("kvstore: not a pattern")
	// ErrRange: a counter's value is not an int64. An Add that returns it has been counted all the same.
	ErrRange = errors.New("kvstore: counter out of range")
)

// Counters keeps whole numbers under keys, beside a log and without its order: adds to one counter never refuse one another, so many may count
// at once. There is no condition, no TTL and no watch. Every method may be called concurrently.
//
// Keys are those of a Store. A pattern is a key in which a token may be "*" (any one token) and the last may be ">" (one or more).
type Counters interface {
	// Add adds delta, which may be negative or 0, and returns the sum just after it: no other add is between the two. It is durable when it
	// returns. An add whose answer is lost is sent again under the same id and counted once, as long as ctx and the store's timeout last;
	// then it is ErrUnknown, and may be counted or not. Other errors say that it was not counted: ErrBadKey, ErrUnavailable; but ErrRange.
	// Where the answer to the first try was lost and 64 others have added since, the sum is a later one.
	Add(ctx context.Context, key string, delta int64) (int64, error)

	// Get reads a counter from its leader; one that nobody has added to is 0. A leader cut off from the others may answer with an old
	// value for ten seconds; Add of 0 cannot.
	Get(ctx context.Context, key string) (int64, error)

	// List reads all counters that match: each has all that was acknowledged before the call. They are read one after the other, not
	// at one instant.
	List(ctx context.Context, pattern string) (map[string]int64, error)

	// Purge forgets all counters that match. One that is added to later begins at 0.
	Purge(ctx context.Context, pattern string) error
}

// CheckPattern tells whether a pattern can be one: ErrBadPattern with the reason.
func CheckPattern(pattern string) error {
	tokens := strings.Split(pattern, ".")
	for i, token := range tokens {
		if token == "*" || token == ">" && i == len(tokens)-1 {
			tokens[i] = "x"
		}
	}
	if err := CheckKey(strings.Join(tokens, ".")); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrBadPattern, pattern, err)
	}
	return nil
}

// matches tells whether a key matches a pattern.
func matches(pattern, key string) bool {
	for {
		want, patternRest, more := strings.Cut(pattern, ".")
		if want == ">" && !more {
			return key != ""
		}
		have, keyRest, has := strings.Cut(key, ".")
		switch {
		case have == "" || want != "*" && want != have:
			return false
		case !more || !has:
			return more == has
		}
		pattern, key = patternRest, keyRest
	}
}

// inRange gives a sum as an int64, or ErrRange.
func inRange(key string, sum *big.Int) (int64, error) {
	if !sum.IsInt64() {
		return 0, fmt.Errorf("%w: %q is %s", ErrRange, key, sum)
	}
	return sum.Int64(), nil
}
