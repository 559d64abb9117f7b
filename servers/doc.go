// Package servers puts MCP servers on the bus under names that are unique in the whole cluster, and reaches them there.
//
//	host := servers.NewHost(conn, reg, nil)
//	serving, err := host.Serve(ctx, "calculator", server, &servers.ServeOptions{Groups: []string{"math"}})
//
//	session, err := client.Connect(ctx, &servers.Transport{Conn: conn, Registry: reg, Name: "calculator"}, nil)
//
// server and client are the official SDK's. A [Host] registers a server's name, joins the groups tools, resources and prompts as far as the server declares
// them, and answers until the name is given up or lost; it answers only while its registry session is valid. A [Transport] reaches a name, a member of
// a group, or one instance. Package wire carries the messages between them; package bridge serves commands on stdio in the same way.
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
// that request. Measured, this costs less than the SDK's own in-memory transport does.
//
// # Failures
//
// What the bus has to say about a call comes as that call's error: [Failed] takes it out of what the SDK returns, with sentinels of package wire and the
// facts: who, why, and whether the call may have been carried out. A session ends visibly when its instance does. A server whose session was lost is served again under
// a new one; a name that somebody else has by then is reported by [Serving.Err].
package servers
