// Package kvstore is a small versioned key-value store over one totally ordered log, with conditional writes, TTLs and atomic batches.
// The registry keeps all its state in one; it can run on any Store.
//
// There are two: Memory, for one process, and JetStream, for a cluster. Both pass the contract in kvtest. What a caller may rely on:
//
//   - Every write takes the next revision. Revisions are contiguous over all keys, so whoever follows the log sees by himself whether he
//     has everything. They never repeat, also not in a log that was deleted and made anew, because a log begins at the Unix
//     time in milliseconds, times 1000. So a revision is a fencing token.
//   - A write names the revision that it replaces (0: nothing), and is refused if another is there. A tombstone counts as something.
//   - Watch gives a Snapshot, then every entry and whole batches, and a Snapshot again where something may have been lost.
//   - An outcome is never guessed: a write without an answer is ErrUnknown, and only another conditional write on that key settles it.
//
// What is not promised: Get and List are not linearizable (NATS has no such read: a leader that was cut off goes on answering for up
// to ten seconds). Who must know writes a Barrier and waits until his watch has it.
//
// # The JetStream log
//
// A scope is the stream KV_toolbus_<scope>. It is also a key-value bucket, so that the nats CLI lists and reads it, but it is made and written by
// our own configuration and messages, for these reasons:
//
//   - KeyValue.Update drops the TTL of a key: the key becomes permanent. There is no batch in that API. Its Create walks over tombstones by
//     itself, on a read that may be stale.
//   - CreateOrUpdateKeyValue and nats kv edit reset every flag that they do not know, in silence. Writers therefore compare the configuration
//     when they open the log and whenever a watch checks, and put it back. A stream that was not made here is left
//     alone: ErrForeign.
//   - A delete is a PURGE message with a TTL. Behind a DEL the server leaves a marker when that TTL ends: an entry that says nothing.
//   - A stock watch rests on a consumer. After the server that hosts it was killed it was silent for 7 to 20 s and missed entries for good. The stream
//     republishes each entry as it is stored, on toolbus.feed.<scope>.<key>; that came within 2 ms in every failover. It is core NATS and may lose,
//     but the contiguous revisions in it show every loss.
//
// A snapshot is read by direct gets, in pages of up to 20,000 entries: the stream keeps one message a key, so reading it from end to end
// is a snapshot. It makes no consumer, which matters when a thousand processes reconnect at once. Any replica may answer, so a snapshot counts only
// if it reaches what the leader had, and after a gap also a barrier that was written first: then it cannot come from a replica, or
// an isolated leader, that does not know what was acknowledged. A watch of a process that never wrote writes no barrier: reading leaves no trace.
//
// An atomic batch becomes visible as a whole. Reads are isolated from half a batch by the server; in the feed its entries are held back until the one that
// carries the commit.
//
// Measured on two shared cores with a disk that syncs in 0.14 ms, everything durable (sync_interval: always): a create takes 0.35 ms on one
// node and 0.7 ms on three; a batch of three 5 ms on one node, where the server makes a file store for each batch, and 0.7 ms on three; a
// fresh watcher has 10,000 keys after 60 to 100 ms.
//
// # Beside the log
//
// Two more things are kept in streams of their own, each made by its first write. Both have a Memory of the same contract.
//
// Counters are NATS' counters. They cannot be in the log: a stream that counts takes no TTL and no condition, and discards what is old. In return
// no add ever refuses another. Every add has an id, so one whose answer was lost is sent again and counted once.
//
// History is lines that say what happened, for a month. They are published by those who watch the log, all of them the same lines under the same
// ids, and NATS keeps the first. It would be simpler to have the stream source the bucket, or capture its feed. Both were measured to lose almost all of it: the
// entries' conditions travel with them in their headers, and are refused there.
//
// # Files
//
// store.go, counters.go, history.go and errors.go are the contract, key.go and check.go its rules. memory*.go is the one backend, jetstream*.go the other; jetstream_errors.go
// is the only file that knows NATS' error codes.
package kvstore
