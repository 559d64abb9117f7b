// Package shim is a stdio MCP server for one client, behind which stands whoever has a name on the bus, or a member of a group.
//
//	err := shim.Run(ctx, os.Stdin, os.Stdout, shim.OnBus(caller, reg, wire.Target{Name: "files"}, nil), nil)
//
// # Why it exists
//
// Most clients can do one thing: start a command and talk to its stdin and stdout. The shim is that command. It relays bytes: messages are scanned, never decoded, so
// members and ids that nobody here knows arrive as they were written. On out goes JSON-RPC, one message a line, and nothing else.
//
// # A server that is not there, or not any more
//
// A client that starts a command takes it for the server, and most give a server up for good when it ends or fails to initialize. So the shim stays when the server
// does not. While nobody has the name, requests wait, for Options.Wait after the outage began; then they, and those that follow, are answered with an error
// until a server comes. Pings are answered all the time: the shim is there.
//
// A legacy session is pinned to one instance. When that dies, the shim, which has seen all that made the session, makes it again on whoever has the name next:
// initialize with the version that was agreed on, initialized, the log level, each subscription. The client then hears that the lists, and what it subscribed to, may be others.
// Requests of the dead server's that the client still works on are cancelled, and its answers to them dropped; ids of the new server's are
// replaced, so that the two cannot be mixed up. A server that agrees to another version than before is another session: the shim ends, and the client has to begin
// anew.
//
// Requests that were under way are sent again only where that is safe: the dead certainly had not seen them, they only read, or the tool says of itself
// that it reads only or may be repeated. All others get the error of the wire, which says that the outcome is unknown.
//
// # Who waits for whom
//
// One goroutine reads the client, one the bus; neither holds a lock while it waits. A client that does not read fills its pipe, then the queue of the wire, and holds up nobody
// else. What the shim has to say by itself waits in a queue of its own, so a client that writes without reading cannot lock both sides up. While the server is away
// what the client says waits in order, up to 64 MiB; then the client's pipe fills.
//
// # A server of the other era
//
// A modern client of a legacy server is translated by the instance. A legacy client whose initialize is not understood goes on through package era, here: the requests
// that come out are stateless, so no death of an instance touches that session.
//
// # Batches
//
// Only the revision 2025-03-26, and what is older, knows batches. They are taken apart here; the responses go back as one array.
package shim
