package bridge

import (
	"encoding/json"
	"fmt"

	"github.com/toolbus/toolbus/servers/wire"
)

// maxID bounds an id that is looked for, in bytes.
const maxID = 256

// idFinder finds the id of one JSON-RPC message that is too long to be kept, while it passes. An id may stand behind a result of any size.
type idFinder struct {
	depth             int
	inString, escaped bool
	inValue, isID     bool // of a top member
	key, id           []byte
	method            bool
	bad               bool // no object, or more than one
}

// feed reads the next bytes of the message.
func (f *idFinder) feed(b []byte) {
	for _, c := range b {
		if f.isID && f.depth == 1 && (f.inString || c != ',' && c != '}' && c > ' ') && len(f.id) <= maxID {
			f.id = append(f.id, c)
		}
		switch {
		case f.escaped:
			f.escaped = false
		case f.inString && c == '\\':
			f.escaped = true
		case c == '"':
			f.inString = !f.inString
			if f.inString && f.depth == 1 && !f.inValue {
				f.key = f.key[:0]
			}
		case f.inString:
			if f.depth == 1 && !f.inValue && len(f.key) < maxID {
				f.key = append(f.key, c)
			}
		case c == '{' || c == '[':
			f.bad = f.bad || f.depth == 0 && c == '['
			f.depth++
		case c == '}' || c == ']':
			f.depth--
			f.isID = f.isID && f.depth > 0
		case c == ':' && f.depth == 1:
			f.inValue = true
			f.isID = string(f.key) == "id"
			f.method = f.method || string(f.key) == "method"
		case c == ',' && f.depth == 1:
			f.inValue, f.isID = false, false
		}
	}
}

// answer is the error response that stands for a response too long to be passed on; nil for anything else.
func (f *idFinder) answer(size, limit int) json.RawMessage {
	if f.bad || f.method || f.depth != 0 || len(f.id) == 0 || len(f.id) > maxID || !json.Valid(f.id) {
		return nil
	}
	facts, _ := json.Marshal(wire.Facts{Executed: "unknown"})
	return (&wire.Error{
		Code: wire.CodeTooLarge, Message: fmt.Sprintf("the answer has %d bytes, the bridge passes on %d", size, limit), Data: facts,
	}).Response(f.id)
}
