package kvstore

import (
	"errors"
	"fmt"
)

var (
	// ErrConflict: the key is not at the expected revision; nothing was written. The error is a *ConflictError.
	ErrConflict = errors.New("kvstore: the key is at another revision")
	// ErrNotFound: no such key.
	ErrNotFound = errors.New("kvstore: no such key")
	// ErrBadKey: the key cannot be one; nothing was sent.
	ErrBadKey = errors.New("kvstore: not a key")
	// ErrBadScope: the scope cannot be part of a bucket's name; nothing was sent.
	ErrBadScope = errors.New("kvstore: not a scope")
	// ErrBadRevision: revision 0 where a real one is needed; nothing was sent.
	ErrBadRevision = errors.New("kvstore: revision 0 is none")
	// ErrBadTTL: a TTL below zero; nothing was sent. (Time that has run out is not the same as no TTL.)
	ErrBadTTL = errors.New("kvstore: not a TTL")
	// ErrTooLarge: the value is larger than MaxValue; nothing was sent.
	ErrTooLarge = errors.New("kvstore: value too large")
	// ErrBatchTooLarge: more than MaxBatch ops; nothing was sent.
	ErrBatchTooLarge = errors.New("kvstore: batch too large")
	// ErrEmptyBatch: a batch of no ops; nothing was sent.
	ErrEmptyBatch = errors.New("kvstore: empty batch")
	// ErrUnknown: the write may have happened, or may happen later; the cause is wrapped beside it.
	ErrUnknown = errors.New("kvstore: outcome unknown")
	// ErrUnavailable: the store cannot be reached or has no quorum now; nothing was written.
	ErrUnavailable = errors.New("kvstore: unavailable")
	// ErrBusy: the store refused for load; nothing was written, and the same call may be tried again.
	ErrBusy = errors.New("kvstore: busy")
	// ErrForeign: what is there under the bucket's name is not a log of ours, or its configuration was changed.
	ErrForeign = errors.New("kvstore: not a log of ours")
	// ErrTooOld: the server is older than this store needs.
	ErrTooOld = errors.New("kvstore: server too old")
	// ErrDenied: the server refuses these credentials.
	ErrDenied = errors.New("kvstore: permission denied")
)

// ConflictError is the error of a refused conditional write: what was expected, and what the store said is there.
type ConflictError struct {
	Key      string   // empty where a batch does not know which of its keys it was
	Expected Revision // 0: nothing
	Actual   Revision // 0: the store did not say (another write to the key was in flight), or nothing is there
}

// Error says the key and both revisions.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("kvstore: %q is at revision %d, not at %d", e.Key, e.Actual, e.Expected)
}

// Is reports that a ConflictError is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
