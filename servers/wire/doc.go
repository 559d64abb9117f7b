// Package wire carries MCP over NATS: raw JSON-RPC messages, one a frame, in both eras of the protocol and both directions. PROTOCOL.md beside this
// file is the contract; this page says why it is so.
//
// # Two sides
//
// An instance serves: [Serve] puts a [Backend] (an SDK server in this process, children on stdio) on the bus under one name. A caller calls: [Dial], or a
// [Caller] for many conversations on one connection, gives a [Pipe] to a name, a group or one instance. Both seams are the same: a Pipe of raw
// messages. So a bridge, a gateway and the SDK need to know nothing of NATS, and the wire nothing of them.
//
// # Why raw bytes
//
// The SDK's codec rounds ids above 2^53, drops members that it does not know, and costs ten times what NATS costs. A relayed message is therefore never decoded: [Scan]
// walks it once and notes where the few things stand that routing needs; what must be replaced (an id, a progress token) is spliced. What two JSON readers could
// read differently, a name given twice or in another case, is refused, because a permission would be given for one reading and used for the other.
//
// # Why the subject says so much
//
// Name, method and target are tokens of the subject, so that a call needs no lookup, NATS permissions authorise single tools of single servers, and
// `nats sub 'mcp.v1.>'` shows what goes on. The receiver proves that the subject says what the body says, else it would authorise nothing.
//
// # Why nothing is silent
//
// Core NATS delivers at most once. Streams of frames are numbered, so a gap shows with the next frame; the last frame of a stream has none after it, so once a second
// an instance is asked what it has for this caller, one question whatever the number of calls: what it does not know any more was lost. A killed
// instance shows by the end of its lease, which the first frame names, or by nobody listening; so do killed callers. Every call ends with an
// answer or with an [Error] that says who, why, and whether it may have been carried out.
//
// # Concurrency
//
// One goroutine a [Server] and one a Caller sort all that comes; neither ever waits for a backend or a reader. Subscriptions cost no goroutine. A conversation with a backend has
// one goroutine that reads it; a session one more that keeps its client's order.
//
// # What is kept
//
// Each side keeps the frames that the other has not taken, and some that it has, so that the loss of a NATS server costs nothing: a gap is asked for again, and only what
// cannot be had ends a call or a session. The window bounds that, and the buffers of the servers in between: a reader that is slow stops its sender, and NATS never has to drop.
// A detached session ([Caller.Open], [Remote]) uses the same store for processes that come and go: an HTTP gateway replica can serve any request of a session that another
// has opened.
package wire
