package wire

import "encoding/json"

// Error is a JSON-RPC error as one party of the wire gives it to another. See errors of PROTOCOL.md for the codes.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Error returns the message, with the package's name in front.
func (e *Error) Error() string { return "wire: " + e.Message }
