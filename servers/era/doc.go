// Package era translates between the two protocols that are called MCP, where a client and a server have none in common.
//
//	adapter, err := era.Adapt(backend, initializeResult, nil)   // a legacy server, for modern clients: a wire.Backend
//	sessions := era.NewSessions(request, nil)                   // a modern server, for legacy clients: a wire.Backend too
//	session := era.NewSession(request, nil)                     // one such client: a wire.Pipe
//
// The modern protocol (2026-07-28) has requests and nothing else; the legacy one (2025-11-25 and older) has sessions, in which the server asks too. Where the two
// sides agree nothing comes here: the bytes pass as they are.
//
// # A legacy server, for modern clients
//
// A legacy conversation believes to speak to one client, whose capabilities it was told in initialize. So an [Adapter] keeps conversations by the
// capabilities that modern requests carry, and says initialize for each. Clients that cannot be asked anything share the one that the
// backend has initialised itself, if it lends one.
//
// A legacy server that asks something does not say for which call. A call of a client that can be asked therefore has a conversation to
// itself while it lasts, and what is asked in it can only be for it: a question about one client's data is never put to another. Such calls one after the
// other use the same conversation, so what one has changed the next one finds. MaxLinks bounds the conversations; with a bridge, each may be a process.
//
// What the server asks during a call becomes an input_required. The call stays suspended, and the conversation with it, until a retry brings the
// answers, at most ten minutes. The requestState of the answer names the instance, readable, and the call, sealed with a key that exists in memory alone: clients can neither
// read nor make one, it fits the request that it was given for, and only once. A retry that comes to another instance of the name is
// forwarded. When the instance ends, its suspended calls end: that is the price of a server that cannot forget and remember.
//
// Questions that come outside a call (a server that asks for roots as soon as it is initialised) are refused, as there is nobody to ask. A conversation in
// which a client's roots were told serves nobody afterwards, because a server keeps those.
//
// # A modern server, for legacy clients
//
// A [Session] is the legacy side of one client. It answers initialize from server/discover, and ping itself; it keeps capabilities and log level and puts them into each
// request; it holds a subscriptions/listen open for the lists, and one for each subscribed resource, and begins them again when they end. An
// input_required becomes real requests to the client, all at once, and then a retry, ten times at most. It asks the server through a
// [Request], so it works the same over the bus, where each request may find another instance, and over a backend of this process.
//
// # What is lost
//
// Tasks are relayed and not translated: the two protocols mean different things by them. Structured content that is no object, and
// output schemas of such, are left out for legacy clients, which refuse them; the same stands in the content as text. A client that answers a question
// with an error ends the call with that error, as input_required has no place for one.
//
// # Bytes
//
// No message is decoded and encoded again: members are taken out and put in, and what nobody here knows stays as it was written, numbers of any
// size included.
package era
