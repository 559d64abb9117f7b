// Package gateway lets any MCP client that speaks HTTP reach the servers on the bus: Streamable HTTP in both protocols, one URL for each server.
//
// # One URL, two protocols
//
// A request says itself which protocol it belongs to: the stateless one names its version in a header and in the body, the one with sessions has a session, or
// opens one. So a client finds out nothing and configures nothing. In the stateless protocol headers repeat what the body says, for those on the way who decide by
// them; a gateway that passed on a request whose headers lie would let it through a door that another had closed, so it compares them all, the arguments that a
// tool's schema wants in headers included. For that it asks the server for its tools, and again before it refuses by what it remembers.
//
// # Sessions are not here
//
// A session with a server lives at the instance that serves it, on the bus, and its id says which that is. A gateway keeps nothing of it: any gateway of the scope
// answers any request of any session, a balancer may send each request elsewhere, and a gateway that dies takes no session with it. The same
// holds for what a client missed: the instance remembers the last of each stream, and Last-Event-ID says where to go on.
//
// # JSON or a stream
//
// An answer that comes at once and alone is sent as JSON. What takes longer, or says something before its answer, becomes a stream of events. The short wait before
// that has a second use: until then an HTTP status can still be chosen, and a session that has ended can be told by 404, as the protocol wants it.
//
// A client that closes its request has given up in the stateless protocol: the call is cancelled. In the one with sessions it may have lost its connection only, so
// the call goes on and its answer waits at the instance.
//
// # Who may come in
//
// A page in a browser can send requests to this machine, and can make its own name mean this machine. Therefore Host and Origin are checked, always, against
// loopback and what was allowed by name. That is no authentication: whoever can open a connection can use the gateway, unless it asks for a token.
//
// # Concurrency
//
// One goroutine a request, the HTTP server's own, and none beside it but for batches. A client that reads slowly holds up its own request: the bus has a window for
// each stream, so nothing piles up here. One that takes nothing at all for a minute is cut off.
package gateway
