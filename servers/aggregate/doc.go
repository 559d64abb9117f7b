// Package aggregate makes one MCP server of many: all servers of a scope, or the members of a group, behind one endpoint.
//
//	endpoint := aggregate.New(caller, reg, &aggregate.Options{Group: "tools"})
//	serving, err := host.ServeBackend(ctx, "gateway-tools", endpoint, &servers.ServeOptions{Kind: aggregate.Kind})
//
// An [Endpoint] is a wire.Backend like any other: whoever hosts it as an instance on the bus gives it sessions that every process of the scope can reach.
//
// # Names
//
// A tool or prompt x of the server a.b is called a_b__x. Names of servers are unique in the cluster and have no underscore, so two of these never meet. Models
// accept 64 characters of [A-Za-z0-9_-]: where others stand in a name, or more, it is cut and gets a hash of the whole at its end. What such a name
// means is looked up in a table and never read out of it. Resources keep their URIs, because servers write them into their results too; a URI that several
// servers have is shown once for each, as mcp+<name>:<uri>. A URI that nobody lists and no template fits is asked for at one server after the other, the oldest first,
// and remembered: servers make up resources as they go.
//
// # Where lists come from
//
// Each server is asked once for the whole endpoint, by requests without a session, and again when it says that a list has changed
// (subscriptions/listen, or a session where it is too old for that), when its registration changes, and after it was away. So a client's list
// costs no message, and a server that does not answer costs a list two seconds once, not at every call: it is left out until it answers. A dead server leaves
// with its registration.
//
// # Conversations
//
// Requests without a session go as they are to the server that they name, under the id that they have. A legacy client's session with a server
// opens at the first use, with that client's own initialize, so the server sees the client's capabilities and can sample, elicit and ask for roots; ids and
// progress tokens of what servers ask are replaced, since two servers may use the same. The log level and subscriptions are repeated to
// a server that was away. A server that dies takes its part of the session with it, not the session.
//
// Messages are spliced, not decoded: a name, a URI or an id gets other bytes, all else goes on as it came.
package aggregate
