package registry

import (
	"errors"
	"fmt"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

var (
	// ErrBadName: not a name; nothing was written. The error is a *NameError.
	ErrBadName = errors.New("registry: not a name")
	// ErrNotFound: nobody holds the name, or the group has no member, at the revision of the view.
	ErrNotFound = errors.New("registry: not found")
	// ErrNameTaken: another session holds the name. The error is a *NameTakenError.
	ErrNameTaken = errors.New("registry: name taken")
	// ErrSessionEnded: the session, and with it all that it held, has ended. The error is a *SessionEndedError.
	ErrSessionEnded = errors.New("registry: session ended")
	// ErrUnregistered: the registration was given up by its owner.
	ErrUnregistered = errors.New("registry: unregistered")
	// ErrTransferred: the name was given to another session by its owner.
	ErrTransferred = errors.New("registry: transferred")
	// ErrDeclined: a session was asked for something and does not do it: take a name, join a group.
	ErrDeclined = errors.New("registry: declined")
	// ErrShared: a name that is shared is not one session's to give away.
	ErrShared = errors.New("registry: the name is shared")
	// ErrElected: the standby's turn has come; it waits no more.
	ErrElected = errors.New("registry: elected")
	// ErrLost: the name is held by somebody else now, or its record was removed by another hand. Where it is known why, the error is a
	// *LostError.
	ErrLost = errors.New("registry: registration lost")
	// ErrLagged: the reader of a watch was slower than its buffer allows; it has to start over.
	ErrLagged = errors.New("registry: watch too slow")
	// ErrNoCounters: the registry was opened without counters.
	ErrNoCounters = errors.New("registry: no counters")
	// ErrNoHistory: the registry was opened without a history.
	ErrNoHistory = errors.New("registry: no history")
	// ErrClosed: the registry was closed.
	ErrClosed = errors.New("registry: closed")
	// ErrNotSynced: the view has not loaded its first snapshot when the context ended.
	ErrNotSynced = errors.New("registry: view not loaded")
	// ErrUnknown: the write may have happened or may happen later; if it does, the session removes what it wrote.
	ErrUnknown = kvstore.ErrUnknown
	// ErrUnavailable: the store cannot be reached, or has no quorum.
	ErrUnavailable = kvstore.ErrUnavailable
)

// NameError says why a text cannot be a name.
type NameError struct{ Name, Why string }

// Error says the text and what is wrong with it.
func (e *NameError) Error() string {
	return fmt.Sprintf("registry: %q is not a name: %s", e.Name, e.Why)
}

// Is reports that a NameError is ErrBadName.
func (e *NameError) Is(target error) bool { return target == ErrBadName }

// NameTakenError tells the loser of a claim who holds the name and since when, as the view that decided shows it.
type NameTakenError struct {
	Name  string
	Owner Record // the registration that stands; its zero value where nobody holds the name but somebody stands by for it

	// Next is who stands by and alone may claim the name now; nil where it is held.
	Next *Waiting
}

// Error says the name, its owner and since when.
func (e *NameTakenError) Error() string {
	if e.Next != nil {
		return fmt.Sprintf("registry: name %q is free, but session %s of %s stands by for it since %s", e.Name, e.Next.Session, e.Next.Node,
			e.Next.Since.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("registry: name %q is held by %s since %s", e.Name, e.Owner.Holder(), e.Owner.Since.UTC().Format(time.RFC3339))
}

// Is reports that a NameTakenError is ErrNameTaken.
func (e *NameTakenError) Is(target error) bool { return target == ErrNameTaken }

// LostError tells an owner why he lost a name while he lived: who replaced him has said why.
type LostError struct {
	Key    string // of the record that he held
	Reason Reason
	By     string // the session that holds it now; empty where nobody does
}

// Error says what was lost, and why.
func (e *LostError) Error() string {
	if e.By == "" {
		return fmt.Sprintf("registry: %s lost: %s", e.Key, e.Reason)
	}
	return fmt.Sprintf("registry: %s lost to session %s: %s", e.Key, e.By, e.Reason)
}

// Is reports that a LostError is ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// SessionEndedError says which session ended and why.
type SessionEndedError struct {
	Session string
	Reason  Reason
}

// Error says the session and the reason.
func (e *SessionEndedError) Error() string {
	return fmt.Sprintf("registry: session %s ended: %s", e.Session, e.Reason)
}

// Is reports that a SessionEndedError is ErrSessionEnded.
func (e *SessionEndedError) Is(target error) bool { return target == ErrSessionEnded }
