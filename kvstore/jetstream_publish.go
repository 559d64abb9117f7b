package kvstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// send runs one attempt at a write until it has an outcome. It tries again only after an answer that says that nothing
// was stored: nobody listened (no leader: an election takes a second or several; or no bucket, which it then makes if create is set), too
// much was in flight, or a write to the same key was. A timeout is never tried again: it is ErrUnknown.
//
// The leader of a replicated stream acknowledges a write a moment before it stops to count it as in flight, so even a lone writer that
// updates its key at once is refused now and then; a few milliseconds later the answer is a real one.
func (s *JetStream) send(ctx context.Context, create bool, attempt func(context.Context) (Revision, error)) (Revision, error) {
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	var last error
	inFlight := 0
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.connected(ctx)
		if err == nil {
			err = s.ensure(ctx, create)
		}
		if err == nil {
			var rev Revision
			if rev, err = attempt(ctx); err == nil {
				s.wrote.Store(true)
				s.saw(rev)
				return rev, nil
			}
		}
		if errors.Is(err, errNoResponders) {
			s.ready.Store(false)
		}
		if errors.Is(err, errInFlight) {
			if inFlight++; inFlight > inFlightTries || !sleep(ctx, time.Duration(inFlight)*time.Millisecond) {
				return 0, &ConflictError{}
			}
			pause = firstPause / 2
			continue
		}
		if !passing(err) {
			return 0, err
		}
		if ctx.Err() == nil {
			last = err
		}
		if s.nc.IsClosed() || !sleep(ctx, pause) {
			return 0, waitError(ctx, last)
		}
	}
}

// inFlightTries is how often a write is tried again that met another one to its key: about a quarter of a second in all.
const inFlightTries = 20

// ack is JetStream's answer to a publish.
type ack struct {
	Error    *apiError `json:"error"`
	Sequence uint64    `json:"seq"`
	Count    int       `json:"count"`
}

// publish sends one message and waits for its acknowledgement.
func (s *JetStream) publish(ctx context.Context, msg *nats.Msg) (Revision, error) {
	reply, err := s.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return 0, s.sendError(err, msg.Subject)
	}
	var a ack
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if a.Error != nil {
		if a.Error.ErrCode == codeNoStream {
			return 0, errNoResponders // it is gone; the next attempt finds out
		}
		return 0, a.Error.asError()
	}
	if a.Sequence == 0 {
		return 0, fmt.Errorf("%w: an acknowledgement without a sequence: %.80q", ErrUnknown, reply.Data)
	}
	return Revision(a.Sequence), nil
}

// Batch implements Store. A batch of one is a plain write, which is cheaper.
func (s *JetStream) Batch(ctx context.Context, ops []Op) (Revision, error) {
	if err := checkBatch(ops); err != nil {
		return 0, err
	}
	if len(ops) == 1 {
		return s.write(ctx, ops[0])
	}
	create := true
	for _, op := range ops {
		create = create && op.Revision == 0
	}
	select {
	case s.batches <- struct{}{}:
		defer func() { <-s.batches }()
	case <-ctx.Done():
		return 0, checkContext(ctx)
	}
	rev, err := s.send(ctx, create, func(ctx context.Context) (Revision, error) { return s.publishBatch(ctx, ops) })
	return rev, noStreamConflicts(err)
}

// publishBatch sends the messages of one atomic batch: all but the last without asking for an answer, the last as the commit. What is refused
// is refused at the commit, as a whole; a message that got lost on the way makes the batch incomplete there. So nothing is
// stored unless the commit was.
func (s *JetStream) publishBatch(ctx context.Context, ops []Op) (Revision, error) {
	id := nuid.Next()
	for i, op := range ops {
		msg := s.message(op)
		msg.Header[headerBatch] = []string{id}
		msg.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		if i < len(ops)-1 {
			if err := s.nc.PublishMsg(msg); err != nil {
				// Without its commit a batch is nothing, whatever became of its messages.
				return 0, s.readError(err, msg.Subject)
			}
			continue
		}
		msg.Header[headerCommit] = []string{"1"}
		return s.publish(ctx, msg)
	}
	return 0, ErrEmptyBatch
}

// saw remembers the highest revision, so that a log that this process makes anew begins above it, whatever the clock says.
func (s *JetStream) saw(rev Revision) {
	for {
		old := s.highest.Load()
		if uint64(rev) <= old || s.highest.CompareAndSwap(old, uint64(rev)) {
			return
		}
	}
}
