package servers

import (
	"errors"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/toolbus/toolbus/servers/wire"
)

// ErrClosed: the Host or the Serving was closed.
var ErrClosed = errors.New("servers: closed")

// Failed returns the failure of the bus in what a call of the SDK returned, or nil if the error is none of ours: the server's own, or
// the context's. errors.Is finds the sentinels of package wire in it (wire.ErrNoResponders, wire.ErrEnded, ...), and its Facts say who and why, and
// whether the call may have been carried out.
func Failed(err error) *wire.Error {
	if ours, ok := errors.AsType[*wire.Error](err); ok {
		return ours
	}
	theirs, ok := errors.AsType[*jsonrpc.Error](err)
	if !ok {
		return nil
	}
	ours := &wire.Error{Code: int(theirs.Code), Message: theirs.Message, Data: theirs.Data}
	if !ours.Known() {
		return nil
	}
	return ours
}
