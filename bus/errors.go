package bus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The errors that callers tell apart, with errors.Is. Errors of NATS are translated at this door; what is not listed here is wrapped as it came.
var (
	// ErrNoResponders: nobody listens on the subject. It has a method NoResponders() bool that is true.
	ErrNoResponders error = noResponders{}
	// ErrDisconnected: the connection is lost at present; nothing was sent, or (from Request) the outcome is not known.
	ErrDisconnected = errors.New("bus: disconnected")
	// ErrClosed: the connection, handling or node was closed, for good.
	ErrClosed = errors.New("bus: closed")
	// ErrBusy: the receiver's queue was full; it did not look at the request.
	ErrBusy = errors.New("bus: receiver is busy")
	// ErrInternal: the receiver failed; it keeps the reason to itself.
	ErrInternal = errors.New("bus: internal error of the receiver")
	// ErrUnreachable: no server of the given URLs answered.
	ErrUnreachable = errors.New("bus: no NATS server reachable")
	// ErrAuth: the server refused the credentials, or they could not be read.
	ErrAuth = errors.New("bus: not authorized")
	// ErrTooOld: the server is older than MinServerVersion.
	ErrTooOld = errors.New("bus: NATS server too old")
	// ErrBadSubject: the subject is empty, malformed or longer than MaxSubject.
	ErrBadSubject = errors.New("bus: bad subject")
	// ErrTooLarge: the message is larger than the server takes.
	ErrTooLarge = errors.New("bus: message too large")
	// ErrBadOptions: the options contradict each other or themselves; the text says how.
	ErrBadOptions = errors.New("bus: bad options")
	// ErrDirInUse: another process, or another node of this one, works in the directory.
	ErrDirInUse = errors.New("bus: directory in use")
	// ErrWrongDir: the directory was made by another kind of node (alone or in a cluster), or by another node. See *DirError.
	ErrWrongDir = errors.New("bus: wrong directory")
	// ErrAddressInUse: the node cannot listen where it should.
	ErrAddressInUse = errors.New("bus: address in use")
	// ErrNotReady: the cluster was not ready when the context ended. See *NotReadyError.
	ErrNotReady = errors.New("bus: cluster not ready")
	// ErrElectionTimeout: two values of the election timeout meet, in one process or in one cluster. See *ElectionError.
	ErrElectionTimeout = errors.New("bus: election timeouts differ")
)

type noResponders struct{}

func (noResponders) Error() string      { return "bus: no responders" }
func (noResponders) NoResponders() bool { return true }

// DirError says what a directory was made for and what it was wanted for. errors.Is: ErrWrongDir.
type DirError struct {
	Dir    string
	Made   string // such as `node "n1" of cluster "toolbus"`, or "a node alone"
	Wanted string
}

// Error says which folder it is and what it was made for.
func (e *DirError) Error() string {
	return fmt.Sprintf("bus: directory %s was made by %s and cannot be used by %s", e.Dir, e.Made, e.Wanted)
}

// Is reports that a DirError is ErrWrongDir.
func (e *DirError) Is(target error) bool { return target == ErrWrongDir }

// NotReadyError says for what a node of a cluster waited in vain. errors.Is: ErrNotReady, and the context's error.
type NotReadyError struct {
	Node    string
	Missing []string // of ClusterOptions.Nodes, those that are not connected
	Leader  string   // the leader of JetStream's own group, "" while there is none
	Hint    string   // why a node was refused, if one was: the server's newest line about it
	Cause   error    // the context's error
}

// Error says what is missing, and what to do.
func (e *NotReadyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bus: node %q: cluster not ready", e.Node)
	switch {
	case len(e.Missing) > 0:
		fmt.Fprintf(&b, ": waiting for %s", strings.Join(e.Missing, ", "))
	case e.Leader == "":
		b.WriteString(": no leader elected")
	default:
		fmt.Fprintf(&b, ": catching up with leader %q", e.Leader)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Is reports that a NotReadyError is ErrNotReady.
func (e *NotReadyError) Is(target error) bool { return target == ErrNotReady }

// Unwrap gives the cause.
func (e *NotReadyError) Unwrap() error { return e.Cause }

// ElectionError names two election timeouts that meet where only one may be. errors.Is: ErrElectionTimeout.
type ElectionError struct {
	Node   string // the other node, "" when it is this process
	Theirs time.Duration
	Ours   time.Duration
}

// Error says whose election timeout differs.
func (e *ElectionError) Error() string {
	if e.Node == "" {
		return fmt.Sprintf("bus: election timeout %s wanted, but this process runs with %s already", e.Ours, e.Theirs)
	}
	theirs := e.Theirs.String()
	if e.Theirs == 0 {
		theirs = "NATS' own"
	}
	return fmt.Sprintf("bus: election timeout is %s here, but %s on node %q: it must be the same on all", e.Ours, theirs, e.Node)
}

// Is reports that an ElectionError is ErrElectionTimeout.
func (e *ElectionError) Is(target error) bool { return target == ErrElectionTimeout }

// The error codes of the wire (HeaderError), both ways. What is not in the table goes out as "internal" with a fixed text, so that
// nothing leaks.
var wireErrors = []struct {
	code   string
	status string // the HTTP-like number of HeaderServiceCode
	err    error
}{
	{"busy", "503", ErrBusy},
	{"closed", "503", ErrClosed},
	{"too_large", "413", ErrTooLarge},
	{"bad_subject", "400", ErrBadSubject},
	{"not_authorized", "403", ErrAuth},
	{"internal", "500", ErrInternal},
}

func errorToWire(err error) (code, status, text string) {
	for _, w := range wireErrors {
		if errors.Is(err, w.err) {
			return w.code, w.status, w.err.Error()
		}
	}
	return "internal", "500", ErrInternal.Error()
}

func errorFromWire(code, text string) error {
	for _, w := range wireErrors {
		if w.code == code {
			return w.err
		}
	}
	return fmt.Errorf("%w: %s (%q)", ErrInternal, text, code)
}

// translate turns an error of nats.go into one of ours.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoResponders
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return ErrClosed
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return ErrDisconnected
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadQueueName):
		return fmt.Errorf("%w: %w", ErrBadSubject, err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Errorf("%w: %w", ErrAuth, err)
	}
	return fmt.Errorf("bus: %w", err)
}
