package kvstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// This file is the only one that knows what NATS' errors mean.

// apiError is the error in a JetStream reply.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

const (
	codeNoPeers          = 10005 // replicas cannot be placed
	codeNotAssigned      = 10007
	codeNoMetaLeader     = 10008
	codeNotLeader        = 10009
	codeNoResources      = 10023
	codeNoMessage        = 10037
	codeNotEnabledHere   = 10039
	codeStorageFull      = 10047
	codeTooLarge         = 10054
	codeNameTaken        = 10058
	codeNoStream         = 10059
	codeWrongSequence    = 10071
	codeNoReplicas       = 10074
	codeNotEnabled       = 10076
	codeStoreFailed      = 10077
	codeOffline          = 10118
	codeIDInProcess      = 10158
	codeWrongInFlight    = 10164
	codeNoTTLs           = 10166
	codeTooManyRequests  = 10167
	codeNoBatches        = 10174
	codeBatchIncomplete  = 10176
	codeBatchTooLarge    = 10199
	codeTooManyBatches   = 10210
	wrongSequencePrefix  = "wrong last sequence: "
	permissionsViolation = "permissions violation"
)

var (
	// errNoResponders: nobody listens on the subject, so nothing was stored. There is no leader, or no stream.
	errNoResponders = fmt.Errorf("%w: no leader", ErrUnavailable)
	// errInFlight: another write to the key is in flight, so the server cannot know yet what will be there.
	errInFlight = fmt.Errorf("%w: another write to the key is in flight", ErrConflict)
	// errNoStream: the bucket is not there.
	errNoStream = errors.New("kvstore: no such bucket")
	// errNoMessage: the stream has no such message.
	errNoMessage = errors.New("kvstore: no such entry")
)

// asError translates an error that JetStream answered with. Every one of them says that nothing was stored.
func (e *apiError) asError() error {
	switch e.ErrCode {
	case codeWrongSequence:
		actual, _ := strconv.ParseUint(strings.TrimPrefix(e.Description, wrongSequencePrefix), 10, 64)
		return &ConflictError{Actual: Revision(actual)}
	case codeWrongInFlight:
		return errInFlight
	case codeTooManyBatches, codeTooManyRequests, codeBatchIncomplete, codeIDInProcess:
		// An incomplete batch lost its first message to the limit, or its leader.
		return fmt.Errorf("%w: %s", ErrBusy, e.Description)
	case codeNoStream:
		return errNoStream
	case codeNoMessage:
		return errNoMessage
	case codeTooLarge:
		return fmt.Errorf("%w: %s", ErrTooLarge, e.Description)
	case codeBatchTooLarge:
		return fmt.Errorf("%w: %s", ErrBatchTooLarge, e.Description)
	case codeNoBatches, codeNoTTLs:
		return fmt.Errorf("%w: %s", ErrForeign, e.Description)
	}
	// Not assigned, no meta leader, not leader, no resources, not enabled, storage full, store failed, offline, and what is not known here.
	return fmt.Errorf("%w: %s (%d)", ErrUnavailable, e.Description, e.ErrCode)
}

// sendError translates an error of nats.go's request: what it means for a write that was handed to the connection.
func (d *door) sendError(err error, subject string) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return errNoResponders
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: the server's max_payload: %w", ErrTooLarge, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return fmt.Errorf("%w: nothing sent: %w", ErrUnavailable, err)
	case d.denied(subject):
		return fmt.Errorf("%w: %s", ErrDenied, subject)
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// readError is sendError for a call that changes nothing.
func (d *door) readError(err error, subject string) error {
	translated := d.sendError(err, subject)
	if errors.Is(translated, ErrUnknown) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return translated
}

// denied tells whether the server refused the subject. NATS answers a forbidden publish to nobody: the call only times out, and the
// connection remembers the refusal.
func (d *door) denied(subject string) bool {
	last := d.nc.LastError()
	if last == nil {
		return false
	}
	text := strings.ToLower(last.Error())
	return strings.Contains(text, permissionsViolation) && strings.Contains(text, strings.ToLower(`"`+subject+`"`))
}

// noStreamConflicts: a write that needs an earlier revision finds nothing where there is no log.
func noStreamConflicts(err error) error {
	if errors.Is(err, errNoStream) {
		return &ConflictError{}
	}
	return err
}

// withOp writes the key and the expectation into a ConflictError.
func withOp(err error, key string, expected Revision) error {
	if c, ok := errors.AsType[*ConflictError](err); ok {
		c.Key, c.Expected = key, expected
	}
	return err
}

// passing tells whether a call that had this error may be made again: nothing was stored, and it may go away.
func passing(err error) bool { return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy) }

// waitError is what a call returns whose time ended while it waited to try again after err.
func waitError(ctx context.Context, err error) error {
	if err == nil {
		err = ErrUnavailable
	}
	return fmt.Errorf("%w: %w", err, context.Cause(ctx))
}

func unknown(err error) bool { return errors.Is(err, ErrUnknown) }
