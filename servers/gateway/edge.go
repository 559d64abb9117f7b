package gateway

import (
	"context"
	"encoding/json"

	"github.com/toolbus/toolbus/servers/wire"
)

// far is the bus as the HTTP side needs it: requests without a session, and sessions that no process of ours owns.
type far interface {
	// request makes one request. Closing its stream before the answer cancels it.
	request(ctx context.Context, t wire.Target, msg json.RawMessage) (stream, error)
	// open opens a session. Where the server answers with an error there is no session, and id is "".
	open(ctx context.Context, t wire.Target, initialize json.RawMessage) (answer json.RawMessage, id string, err error)
	// session reaches one that may have been opened by any process. wire.ErrNoSession: the id cannot be one of t.
	session(t wire.Target, id string) (session, error)
	// many is who serves all members of a group, or all servers ("").
	many(ctx context.Context, group string) (wire.Target, error)
	// healthy tells whether the bus can be reached now.
	healthy() bool
	close() error
}

// session is a legacy session, wherever it was opened. Its methods fail with wire.ErrNoSession once it has ended.
type session interface {
	// request makes a request. Its stream goes on at the instance when it is closed here.
	request(ctx context.Context, msg json.RawMessage) (stream, error)
	// send takes a notification, or an answer to a request of the server's.
	send(ctx context.Context, msg json.RawMessage) error
	// listen takes over what the server says by itself.
	listen(ctx context.Context) (stream, error)
	// resume goes on with any stream of the session after an event of it.
	resume(ctx context.Context, event string) (stream, error)
	close(ctx context.Context) error
}

// stream is what belongs together: a request's notifications and its answer, or what a server says by itself.
type stream interface {
	// read waits for the next event. io.EOF: there will be none.
	read(ctx context.Context) (event, error)
	// position names what has been read so far, for whoever goes on with the stream elsewhere; "" if that cannot be.
	position() string
	// start is the position before the first event.
	start() string
	close()
}

// event is one message of a stream.
type event struct {
	id   string // names its place in the stream; "" if nobody can go on after it
	msg  json.RawMessage
	last bool // it is the answer: nothing follows
}
