package kvstore

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// value reads a header without nats.Header.Get, which would canonicalize the name each time.
func value(h nats.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// parseEntry reads an entry from a message that carries the headers that NATS adds to what it republishes and to what it
// answers to a direct get. It is false for anything else.
func parseEntry(key string, h nats.Header, data []byte) (Entry, bool) {
	sequence, err := strconv.ParseUint(value(h, headerSequence), 10, 64)
	if err != nil || sequence == 0 || key == "" {
		return Entry{}, false
	}
	e := Entry{Key: key, Value: data, Revision: Revision(sequence), Operation: operation(h)}
	e.Time, _ = time.Parse(time.RFC3339Nano, value(h, headerTime))
	return e, true
}

// operation tells what a message did to its key. An expired key leaves a marker of the server's; DEL and PURGE are what clients write (a
// DEL is never ours).
func operation(h nats.Header) Operation {
	switch value(h, headerMarker) {
	case "":
	case "MaxAge":
		return Expire
	default:
		return Delete
	}
	if value(h, headerOperation) != "" {
		return Delete
	}
	return Put
}

// batchOf is the place of a message in its atomic batch: its position from 1, and whether it is the last.
func batchOf(h nats.Header) (id string, position int, last bool) {
	if id = value(h, headerBatch); id == "" {
		return "", 0, true
	}
	position, _ = strconv.Atoi(value(h, headerBatchSeq))
	return id, position, value(h, headerCommit) != ""
}

// keyOf cuts the key out of a subject.
func keyOf(subject, prefix string) string {
	key, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return ""
	}
	return key
}
