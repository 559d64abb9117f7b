package wire

import (
	"encoding/json"
	"errors"
)

// Codes of the errors that the wire itself gives. They lie outside the range that JSON-RPC and MCP reserve (-32768 to -32000), so
// that a server's own error is never taken for one of ours; frames of the kind err say it too.
const (
	CodeNoResponders = 1001 // nobody listens for that name, group or instance
	CodeEnded        = 1002 // the instance that had the call ended: its process died, or its lease did
	CodeNotValid     = 1003 // the instance may not serve now (its lease is not certain), or it is closing
	CodeTooLarge     = 1004 // the message is over the limit
	CodeUnknown      = 1005 // an answer was lost or never came: the call may have been carried out
	CodeRefused      = 1006 // subject, headers and body do not say the same
	CodeBusy         = 1007 // the instance's queue is full
	CodeNoSession    = 1008 // there is no such session, or it has ended
	CodeToken        = 1009 // the call is meant for another owner of the name: the tokens differ
	CodeForeign      = 1010 // who answered does not speak this wire (a stream that records and acknowledges, say)
	CodeBackend      = 1011 // the server behind the instance ended, or could not be started
	CodeNoName       = 1012 // nobody has registered that name
	CodeReplaced     = 1013 // another process listens to the stream now
)

// The sentinels that errors.Is finds in an *Error by its code.
var (
	ErrNoResponders = errors.New("wire: nobody answers")
	ErrEnded        = errors.New("wire: the instance has ended")
	ErrNotValid     = errors.New("wire: not valid now")
	ErrTooLarge     = errors.New("wire: too large")
	ErrUnknown      = errors.New("wire: outcome unknown")
	ErrRefused      = errors.New("wire: refused")
	ErrBusy         = errors.New("wire: busy")
	ErrNoSession    = errors.New("wire: no such session")
	ErrToken        = errors.New("wire: another owner")
	ErrForeign      = errors.New("wire: not an answer of this wire")
	ErrBackend      = errors.New("wire: the server ended")
	ErrNoName       = errors.New("wire: no such name")
	ErrReplaced     = errors.New("wire: another process listens")
	ErrClosed       = errors.New("wire: closed")
)

var sentinels = map[int]error{
	CodeNoResponders: ErrNoResponders, CodeEnded: ErrEnded, CodeNotValid: ErrNotValid, CodeTooLarge: ErrTooLarge,
	CodeUnknown: ErrUnknown, CodeRefused: ErrRefused, CodeBusy: ErrBusy, CodeNoSession: ErrNoSession,
	CodeToken: ErrToken, CodeForeign: ErrForeign, CodeBackend: ErrBackend, CodeNoName: ErrNoName,
	CodeReplaced: ErrReplaced,
}

// Error is a JSON-RPC error as one party of the wire gives it to another. Data of the wire's own errors holds Facts.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Facts is what the wire knows about a failure. Each member may be missing.
type Facts struct {
	Name     string `json:"name,omitempty"`
	Group    string `json:"group,omitempty"`
	Instance string `json:"instance,omitempty"`
	Lease    string `json:"lease,omitempty"`
	Why      string `json:"why,omitempty"`
	// Executed is "no" where the server has certainly not seen the request, so that it may be sent again; "unknown" otherwise.
	Executed string `json:"executed,omitempty"`
}

// Error returns the message, with the package's name in front.
func (e *Error) Error() string { return "wire: " + e.Message }

// Is finds the sentinel of the error's code.
func (e *Error) Is(target error) bool {
	s, ok := sentinels[e.Code]
	return ok && s == target
}

// Facts reads the facts out of the error's data. They are zero where it has none.
func (e *Error) Facts() Facts {
	var f Facts
	_ = json.Unmarshal(e.Data, &f) // foreign data is no facts
	return f
}

// NewError makes an error of the wire with its facts. Where they do not say what became of the request, it says "unknown" for the codes
// of an end on the way, and "no" for the others.
func NewError(code int, message string, facts Facts) *Error { return fail(code, message, facts) }

// fail makes an error of the wire.
func fail(code int, message string, facts Facts) *Error {
	if facts.Executed == "" {
		facts.Executed = "no"
		if code == CodeEnded || code == CodeUnknown || code == CodeForeign || code == CodeBackend {
			facts.Executed = "unknown"
		}
	}
	data, _ := json.Marshal(facts)
	return &Error{Code: code, Message: message, Data: data}
}

// Response makes the JSON-RPC response that carries the error to the request with this id (as it was written; nil becomes null).
func (e *Error) Response(id json.RawMessage) json.RawMessage {
	if id == nil {
		id = json.RawMessage("null")
	}
	body, err := json.Marshal(e)
	if err != nil { // Data is not JSON
		body, _ = json.Marshal(&Error{Code: e.Code, Message: e.Message})
	}
	out := make([]byte, 0, len(body)+len(id)+32)
	out = append(out, `{"jsonrpc":"2.0","id":`...)
	out = append(out, id...)
	out = append(out, `,"error":`...)
	out = append(out, body...)
	return append(out, '}')
}

// Known tells whether the code is one of the wire's own.
func (e *Error) Known() bool { return sentinels[e.Code] != nil }
