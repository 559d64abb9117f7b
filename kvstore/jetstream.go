package kvstore

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// DefaultTimeout is how long one call on a JetStream store waits when its context would let it wait longer.
const DefaultTimeout = 10 * time.Second

// JetStreamOptions are the ways to open a store; nil works.
type JetStreamOptions struct {
	// Replicas of the log, where this process makes it. 0: three where NATS can place three, else one.
	Replicas int
	// Metadata is written beside the log by the process that makes it, and kept after that. Keys that begin with
	// "_nats." are the server's.
	Metadata map[string]string
	// Timeout is how long one call waits at most, whatever its context says; 0 is DefaultTimeout. A watch has no timeout.
	Timeout time.Duration
	// Logger gets what a call does not return: repairs, watches that try again. nil discards.
	Logger *slog.Logger
}

// JetStream is a Store in one JetStream key-value bucket, toolbus_<scope>. It uses a connection that somebody else owns and closes, and has
// no goroutine of its own, so it needs no Close.
//
// The connection should have no reconnect buffer (nats.ReconnectBufSize(-1)): what waits in one can be written long after
// the call that sent it has returned ErrUnknown.
type JetStream struct {
	door
	names    names
	replicas int
	metadata map[string]string

	ready   atomic.Bool // the bucket was there, with our configuration, when we last looked
	wrote   atomic.Bool // this store has written: its watches may write barriers
	highest atomic.Uint64
	making  chan struct{} // one at a time looks for the bucket and makes it
	batches chan struct{} // how many atomic batches may be in flight
	barrier barrier

	pageMessages int // how many entries one read of the log returns; tests make it small

	mu   sync.Mutex
	seen map[string]string // the metadata of the log as last seen, to repair it with
}

var _ Store = (*JetStream)(nil)

// names are the subjects and the stream of one scope.
type names struct {
	stream string // KV_toolbus_<scope>
	keys   string // $KV.toolbus_<scope>.
	feed   string // toolbus.feed.<scope>.
}

// batchesInFlight is below the 50 that a server admits to one stream, so that several processes fit.
const batchesInFlight = 16

// OpenJetStream makes a store on nc. It makes nothing in NATS: the first write makes the bucket, and until then reads and watches see an
// empty log. Errors: ErrBadScope; ErrTooOld if the connected server is older than MinServer.
// If nc is not connected, it waits until it is, or ctx ends (ErrUnavailable).
func OpenJetStream(ctx context.Context, nc *nats.Conn, scope string, opts *JetStreamOptions) (*JetStream, error) {
	if opts == nil {
		opts = &JetStreamOptions{}
	}
	if !validScope(scope) {
		return nil, fmt.Errorf("%w: %q (1 to 64 of [A-Za-z0-9_-])", ErrBadScope, scope)
	}
	s := &JetStream{
		door:     openDoor(nc, opts.Timeout, opts.Logger),
		names:    names{stream: "KV_toolbus_" + scope, keys: "$KV.toolbus_" + scope + ".", feed: "toolbus.feed." + scope + "."},
		replicas: opts.Replicas,
		metadata: maps.Clone(opts.Metadata),
		making:   make(chan struct{}, 1),
		batches:  make(chan struct{}, batchesInFlight),

		pageMessages: pageMessages,
	}
	s.barrier.init(barrierPrefix + nuid.Next())
	ctx, cancel := s.limit(ctx)
	defer cancel()
	if err := s.connected(ctx); err != nil {
		return nil, err
	}
	return s, checkServer(nc.ConnectedServerVersion())
}

// validScope: a scope is a part of a bucket's name and a token of a subject.
func validScope(scope string) bool {
	if scope == "" || len(scope) > 64 {
		return false
	}
	for i := range len(scope) {
		if c := scope[i]; !keyByte(c) || c == '.' || c == '/' || c == '=' {
			return false
		}
	}
	return true
}

// Create implements Store.
func (s *JetStream) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (Revision, error) {
	if err := checkWrite(key, value, ttl); err != nil {
		return 0, err
	}
	return s.write(ctx, Op{Key: key, Value: value, TTL: ttl})
}

// Update implements Store.
func (s *JetStream) Update(ctx context.Context, key string, value []byte, rev Revision, ttl time.Duration) (Revision, error) {
	if err := checkRevised(key, value, ttl, rev); err != nil {
		return 0, err
	}
	return s.write(ctx, Op{Key: key, Value: value, Revision: rev, TTL: ttl})
}

// Delete implements Store.
func (s *JetStream) Delete(ctx context.Context, key string, value []byte, rev Revision) (Revision, error) {
	if err := checkRevised(key, value, 0, rev); err != nil {
		return 0, err
	}
	return s.write(ctx, Op{Key: key, Value: value, Revision: rev, Delete: true})
}

// write is one conditional write.
func (s *JetStream) write(ctx context.Context, op Op) (Revision, error) {
	rev, err := s.send(ctx, op.Revision == 0, func(ctx context.Context) (Revision, error) {
		return s.publish(ctx, s.message(op))
	})
	return rev, withOp(noStreamConflicts(err), op.Key, op.Revision)
}

// The headers by which NATS takes our conditions and shows what an entry is. Maps are indexed with these directly: nats.go
// keeps the spelling, and Header.Get would canonicalize it.
const (
	headerExpected  = "Nats-Expected-Last-Subject-Sequence"
	headerTTL       = "Nats-TTL"
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	headerStream    = "Nats-Stream"
	headerSubject   = "Nats-Subject"
	headerSequence  = "Nats-Sequence"
	headerPrevious  = "Nats-Last-Sequence"
	headerPending   = "Nats-Num-Pending"
	headerTime      = "Nats-Time-Stamp"
	headerBatch     = "Nats-Batch-Id"
	headerBatchSeq  = "Nats-Batch-Sequence"
	headerCommit    = "Nats-Batch-Commit"
)

// message is an op as NATS takes it.
//
// A delete is written as a purge, not as a DEL: the nats CLI shows both as deleted, but when its TTL ends, the server leaves a marker behind
// a DEL, which would be one more entry (and a day later nothing), and none behind a PURGE.
func (s *JetStream) message(op Op) *nats.Msg {
	msg := &nats.Msg{Subject: s.names.keys + op.Key, Data: op.Value, Header: nats.Header{
		headerExpected: {strconv.FormatUint(uint64(op.Revision), 10)},
	}}
	ttl := wholeSeconds(op.TTL)
	if op.Delete {
		msg.Header[headerOperation] = []string{"PURGE"}
		ttl = TombstoneTTL
	}
	setTTL(msg, ttl)
	return msg
}

func setTTL(msg *nats.Msg, ttl time.Duration) {
	if ttl > 0 {
		msg.Header[headerTTL] = []string{strconv.FormatInt(int64(ttl/time.Second), 10)}
	}
}
