package wire

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Event is one message of a Stream.
type Event struct {
	// ID names the message for a later Remote.Listen or Remote.Resume, by any process; "" outside sessions. It is opaque.
	ID   string
	Data json.RawMessage
	// Last says that this is the response.
	Last bool
	// Err is the failure that the wire and not the server had to report; Data is then the JSON-RPC response that says so.
	Err *Error
}

// EventID makes the id of a message out of its stream and the number of its (last) frame.
func EventID(stream string, frame uint64) string {
	if stream == "" {
		return ""
	}
	return stream + "-" + strconv.FormatUint(frame, 10)
}

// parseEventID takes an id apart. A stream alone is "from now on".
func parseEventID(id string) (stream string, frame uint64, now, ok bool) {
	stream, number, found := strings.Cut(id, "-")
	if !validID(stream) || strings.Contains(stream, "-") {
		return "", 0, false, false
	}
	if !found {
		return stream, 0, true, true
	}
	frame, err := strconv.ParseUint(number, 10, 64)
	return stream, frame, false, err == nil && EventID(stream, frame) == id
}
