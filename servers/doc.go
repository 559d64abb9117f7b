// Package servers puts MCP servers on the bus under names that are unique in the whole cluster, and reaches them there.
//
//	host := servers.NewHost(conn, reg, nil)
//	serving, err := host.Serve(ctx, "calculator", server, &servers.ServeOptions{Groups: []string{"math"}})
//
//	session, err := client.Connect(ctx, &servers.Transport{Conn: conn, Registry: reg, Name: "calculator"}, nil)
//
// server and client are the official SDK's. A [Host] registers a server's name, joins the groups tools, resources and prompts as far as the server declares
// them, follows when that changes, and answers until the name is given up or lost; it answers only while its registry session is valid. A [Transport] reaches a
// name, a member of a group, or one instance. Package wire carries the messages between them. [Host.ServeBackend] serves what is no SDK server in the same
// way: package bridge, commands on stdio.
//
// # A name and what serves it
//
// One hosted server is one instance: its id stays as long as its [Serving], also when the session was lost and the name was claimed again, with a new token, in
// another. The name is claimed first, and listened for after that: who listens before he has the name would stand in its queue group beside the one that
// has it, and get his calls. A caller may thus see a name some milliseconds before anybody answers; with a Registry a Transport sends such a request once more.
//
// # The founding calls
//
// The Erlang registry that this one succeeds had a short list of calls. They are here one to one:
//
//	register, whereis, unregister, registered   Session.Register, Registry.Whereis, Registration.Unregister, Registry.Names
//	join, get_members, leave, get_all_groups    Session.Join, Registry.Members, Membership.Leave, Registry.Groups
//	start_mcp_server(tool, name)                Host.Start(ctx, servers.Tool, name, server)
//	stop_mcp_server(name)                       Host.Stop(ctx, name)
//	list_servers                                List(reg), or Catalog with the tools of each
//
// # Who shares what
//
// The SDK keeps the capabilities of the first caller of a connection, drops a request whose id is in flight, and feeds only the last of several
// subscriptions, without a word. So each legacy client has an SDK connection of its own, and each modern request has one too: what is said on it belongs to
// that request. Measured, a call through the bus then takes about as long as one through the SDK's own in-memory transport; the SDK is most of either. A Host has one
// more connection with each server, a legacy one, on which the server says that its lists have changed: it shows in Server.Sessions.
//
// # Two eras
//
// A server that speaks one of the two protocols alone is served to clients of both: the Host puts the translation of package era before it, at the instance, because there
// the sessions and the suspended calls live, and every edge then works without knowing. A server that speaks both is never translated, and
// a [Transport] with a Registry has a client of the SDK, which speaks both, use what a legacy server speaks.
//
// # Failures
//
// What the bus has to say about a call comes as that call's error: [Failed] takes it out of what the SDK returns, with sentinels of package wire and the
// facts: who, why, and whether the call may have been carried out. A session ends visibly when its instance does. A server whose session was lost is served again under
// a new one; a name that somebody else has by then is reported by [Serving.Err].
//
// A panic in a handler of an SDK server ends the process, as it does without a bus: the SDK recovers none, and a server that goes on in an unknown state is worse than
// one that is gone at once, everywhere. Who wants a panic to end one call adds [Recover] as a receiving middleware; who wants other servers of the
// process to live on runs this one as a command of its own.
package servers
