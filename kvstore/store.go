package kvstore

import (
	"context"
	"iter"
	"time"
)

// Revision is the position of an entry in the log of a store: the first entry of a log has its smallest, each later one
// exactly one more. A store never gives a revision twice, not even when its log was deleted and made anew.
// Zero is no revision: as an expectation it means "there is nothing under this key, not even a tombstone".
type Revision uint64

// Operation says what an entry did to its key.
type Operation uint8

const (
	Put    Operation = iota // the key has this value
	Delete                  // a writer removed the key; the value says why
	Expire                  // the store removed the key when its TTL ended; there is no value
)

// Entry is one line of the log: what one write, or the end of one TTL, did to one key.
type Entry struct {
	Key       string
	Value     []byte // not to be changed by who receives it
	Revision  Revision
	Operation Operation
	Time      time.Time // when the store took it, by the store's clock; for people, never to decide on
}

// Tombstone tells whether the entry ends its key.
func (e Entry) Tombstone() bool { return e.Operation != Put }

// Op is one write of a batch: a create (Revision 0), an update (the revision of the newest entry of the key, which may
// be a tombstone's) or, with Delete set, a delete.
type Op struct {
	Key      string
	Value    []byte
	Revision Revision
	Delete   bool
	TTL      time.Duration // as for Create; a delete ignores it
}

// StepKind tells the two kinds of Step apart.
type StepKind uint8

const (
	// Append is the next entry of the log, or all the entries of one atomic batch.
	Append StepKind = iota
	// Snapshot is the newest entry of every key. It replaces all that the watcher knows: a key that it lacks is gone.
	// Changes between the step before and a snapshot have collapsed: only their result is in it.
	Snapshot
)

// Step is one change of a watched log, to be applied as a whole or not at all.
type Step struct {
	Kind     StepKind
	Entries  []Entry  // Append: in order of revision, contiguous. Snapshot: one a key, tombstones included, in any order
	Revision Revision // with this step applied, the watcher has everything up to here

	// Log names the log, in each step: it changes when a bucket was deleted and made anew, and then a Snapshot follows.
	// It is empty while there is no log (a bucket that nobody has made yet): an empty Snapshot at revision 0.
	Log string
	// Metadata is what the maker of the log wrote beside it; only a Snapshot has it.
	Metadata map[string]string
}

// Check is what the holder of a watch can ask of it: see WatchOptions.
type Check uint8

const (
	// CheckTail compares the watch with the log (its name and its last revision) and repairs what it finds by a Snapshot.
	CheckTail Check = iota
	// CheckAll takes a new Snapshot, whatever the log says: a purge by hand and a tombstone's end leave no entry.
	CheckAll
)

// WatchOptions are the ways to follow a log; nil follows all of it.
type WatchOptions struct {
	// Prefix limits the entries to keys that begin so. Revisions stay those of the whole log: an Append with no entries
	// tells that the log went on elsewhere.
	Prefix string
	// Check, if not nil, is read by the watch while it runs. Several checks that wait become one.
	Check <-chan Check
}

// Store is a small versioned key-value store over one totally ordered log. Every method may be called concurrently.
//
// Keys are 1 to 512 bytes of [A-Za-z0-9_/=-] and dots, with no dot first, last, or beside another; else ErrBadKey. A value
// is at most 512 KiB, else ErrTooLarge. Both are checked before anything is sent.
//
// A TTL of 0 is none. The store counts in whole seconds, so a TTL is rounded up to the next one. The end of a TTL is an entry of its own
// (Expire) in the log.
//
// Writes are durable when they return and totally ordered. A write that returns ErrConflict has not happened. One that returns
// ErrUnknown may have happened, or may still happen later: it is settled by another conditional write on the same key, never by
// looking. One that returns another error has not happened and will not.
type Store interface {
	// Create writes key, which must have no entry, not even a tombstone: else a *ConflictError (ErrConflict).
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (Revision, error)

	// Update writes key if its newest entry, which may be a tombstone, has revision rev: else a *ConflictError.
	// rev is never 0 (ErrBadRevision). The TTL counts anew from this write; with ttl 0 the key has none any longer.
	Update(ctx context.Context, key string, value []byte, rev Revision, ttl time.Duration) (Revision, error)

	// Delete writes a tombstone over key if its newest entry has revision rev. The value is the reason, for those who read the
	// tombstone; it is kept for TombstoneTTL and then vanishes without an entry.
	Delete(ctx context.Context, key string, value []byte, rev Revision) (Revision, error)

	// Batch does all the writes or none of them. It returns the revision of the last; op i has that of the last
	// minus len(ops)-1-i. At most MaxBatch ops (ErrBatchTooLarge), no key twice (ErrBadKey), none at all is an error too.
	// The Key of its *ConflictError is empty where the store does not know which one was refused.
	Batch(ctx context.Context, ops []Op) (Revision, error)

	// Get reads the newest entry of key from the leader of the log: ErrNotFound if there is none or it is a tombstone.
	// It is not linearizable (a leader cut off from the others answers for up to 10 s more): never decide a write on it.
	Get(ctx context.Context, key string) (Entry, error)

	// List reads the newest entry of each key that begins with prefix, without tombstones, sorted by key, with the revision at which
	// that is true. A log that nobody has made yet is an empty list at revision 0.
	List(ctx context.Context, prefix string) ([]Entry, Revision, error)

	// Watch follows the log: first a Snapshot, then each Append with no revision left out or repeated, and after anything
	// that could have lost one (a gap, a reconnect, a new log) a Snapshot again. It ends when ctx does, without an error; any other
	// end is one error, after which the watch has to be started anew. It holds no more than a bounded number of steps for a slow
	// reader: who is slower gets a Snapshot. Leaving the loop ends the watch. A Watch runs on the goroutine that ranges over it.
	Watch(ctx context.Context, opts *WatchOptions) iter.Seq2[Step, error]

	// Barrier writes an entry that changes nothing and returns its revision: a view that has applied it has seen
	// everything acknowledged before the call. Callers that arrive while one is in flight share the next, never that one.
	Barrier(ctx context.Context) (Revision, error)
}

const (
	// MaxBatch is the most ops of one Batch.
	MaxBatch = 1000
	// MaxKey is the longest key, in bytes: the subject that carries it must fit NATS' control line, several times over.
	MaxKey = 512
	// MaxValue is the largest value, in bytes: half of what NATS carries in one message by default.
	MaxValue = 512 << 10
	// TombstoneTTL is how long a tombstone is kept.
	TombstoneTTL = 24 * time.Hour
	// BarrierTTL is how long the entry of a barrier is kept.
	BarrierTTL = time.Minute
)

// barrierPrefix begins the keys of barriers; each store has one of its own.
const barrierPrefix = "barrier."
