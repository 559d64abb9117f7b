// Package bridge puts any MCP server that speaks over stdin and stdout, or over HTTP, on the bus under a name, as it is: no line of it changes.
//
//	running, err := bridge.Run(ctx, conn, reg, "everything", []string{"npx", "-y", "@modelcontextprotocol/server-everything"}, nil)
//
// From the inside out:
//
//   - Child is one process with its messages (a wire.Pipe), its noise, its last words and its end.
//   - The guard (GuardMain) is the process between the bridge and a child that lets no child outlive the bridge.
//   - Stdio is the children of one command, as one wire.Backend; HTTP is a server at a URL.
//   - Run and Attach give them a name, by a servers.Host, which follows the name through the loss of a session; Running is what they return.
//
// # Children
//
// A stdio server is one client wide. Once it was told initialize it is that client's: its tools depend on what the client can do, and its own
// requests (sampling, elicitation, roots) have only that one way to go. A second initialize is refused or confuses it. So:
//
//   - The bridge initialises one child itself, before anybody is told of the name. What does not answer is never registered; the error has
//     its exit status and its last lines on stderr. This child serves all requests without a session: a bare nats req, and modern clients.
//   - Each legacy client that initializes gets a child of its own, which ends with the session. MaxSessions bounds them.
//   - Single puts all clients on the first child, for servers that never ask back: half as many processes, and the client sees the tools that
//     the bridge would see.
//
// The first child is asked server/discover, and if it does not answer that well, or within three seconds, initialize: that is how the
// specification tells the eras apart over stdio. Servers are worse than the specification, so the attempt is repeated on a fresh child
// where the question itself may have spoilt the first: one that dies of an unknown method, one that takes it for a broken handshake, and one that
// was still being downloaded when it was asked.
//
// # Messages
//
// Messages pass as raw bytes. Only where several users share a child are request ids, progress tokens and the ids that name them replaced
// and put back, every other byte stays. A line on stdout that is no JSON-RPC message is logged, counted and skipped, be it a banner, a log
// line in JSON or a progress bar in front of a message: one print statement must not end a session. A child that does not read blocks a
// writer for WriteTimeout; a message that it took in part is completed later, so that no frame is ever torn.
//
// # What a server is
//
// The record shows what the server says of itself, how many tools, prompts and resources it lists and a digest of them, and what became of its children. A modern child is
// listened to by one subscriptions/listen, into which those of all users are merged: servers of the official Go SDK feed only the last one. A legacy child
// tells by itself. After each change the lists are read again, and record and groups follow. What the children write to stderr is kept and served to ReadLog.
//
// # HTTP
//
// A server at a URL is asked server/discover, then initialize, and where it answers neither with more than 4xx it is tried as one of 2024-11-05. Each legacy
// client has a session of its own there; a modern request is one POST, with the headers that mirror it. A broken stream is resumed behind its last event.
// There is nothing to restart, so nothing is given up: a server that is away is marked, its calls are answered with why, and it is asked again.
//
// # The end of a child
//
// The end of a process is known when its guard has seen it, not when its pipes close: others may hold those. What the dead process had
// written is still read first. The calls that a first child had get an answer that says how it ended, about two milliseconds after a kill -9, and another
// child is started, after a short pause that grows and is jittered, few at the same time in one process. The name stays, and new calls wait for the
// next child for a bounded time: a server that crashes is no reason for its clients to look for another. One that does not last (Tries, Limit) is given up with its
// name, and Running ends with the *RestartError; with Never the first end is the last. A session of a client ends with its child: what it
// had in it no other child knows.
//
// A child may be ended because nobody used it (Idle), and not be started before somebody does (Lazy); its name, groups and description stay.
//
// Close follows the specification: the end of the input, then SIGTERM, then SIGKILL, the last two to the whole process group, each after
// its own grace. A stopped process is made to go on for the SIGTERM, which it could not hear otherwise.
//
// # The guard
//
// A parent that was killed with -9 cannot clean up. Linux could kill the child then (PDEATHSIG), but only the child and not what it has started:
// npx starts a shell, which starts node. So every child is started by a guard, our own binary once more, which holds a pipe from the
// bridge. When that pipe ends, for whatever reason, the guard ends the child's process group. It has a session of its own, so the signals of a
// terminal do not reach it; it hands its stdin, stdout and stderr to the child and is not in the path of a single byte. On Linux it is also
// the parent of the group's orphans, and reaps them: in a container, process 1 often does not. Its price is one small process a child and about
// ten milliseconds at its start. Should the guard itself be killed, Linux kills the child, and the bridge its group.
//
// A program that starts children has to answer the word guard, first thing in its main:
//
//	if len(os.Args) > 1 && os.Args[1] == "guard" {
//		os.Exit(bridge.GuardMain(os.Args[2:]))
//	}
//
// ChildOptions.Guard names another program for it. On Windows a job object does the guard's work; that part is compiled, and not tested yet.
//
// What leaves the group on purpose (setsid: a daemon) is not followed.
package bridge
