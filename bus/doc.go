// Package bus is NATS as toolbus uses it: nodes (processes with an embedded nats-server), connections, requests, handlers, and the events
// that tell of connections and servers that ended. It imports nothing else of ours.
//
//	node, err := bus.StartNode(ctx, &bus.NodeOptions{Dir: dir, Listen: "127.0.0.1:4222"})
//	conn, err := node.Connect(ctx, nil)                         // in this process
//	conn, err := bus.Connect(ctx, "nats://127.0.0.1:4222", nil) // or anywhere
//	handling, err := conn.Handle("greet", "", func(ctx context.Context, m *bus.Message) { m.Respond([]byte("hello")) }, nil)
//	answer, err := conn.Request(ctx, "greet", nil)
//
// # Nodes
//
// A node acknowledges only what is on disk: sync_interval is "always", since NATS' default loses every acknowledged name when the power
// goes. It listens on loopback unless told otherwise. Clients need no credentials and are in NATS' global account, so `nats` works as
// with a plain server; the system account has a password that is random at each start and taken in-process only, because whoever reads
// its events can also throw others out.
//
// Several nodes make a cluster: each lists all, itself included (Raft takes its size from the list), and shows the secret. A directory remembers
// whether it was made alone or by which node of which cluster, and refuses anything else.
//
// NATS elects a new leader in 4 to 9 s and writes stop that long. Raft's timing is no option there, so election.go sets its variables for
// the process: 0.6 to 1.2 s, heartbeats of 150 ms. It must be the same on all nodes of a cluster; WaitReady compares.
//
// # Events
//
// NotifyLost tells of connections that ended and servers that are lost. NATS publishes the end of each connection in its system account,
// within a millisecond, but nothing at all when a server is killed: neither for it nor for its clients. A node therefore watches its
// routes too. Both are evidence, delivered at most once; neither proves that a process is dead, and silence does not prove that it lives.
// NotifyLink tells of the connection itself and, on a node, of being cut off from the majority of the cluster. On a NATS without our
// nodes NotifyLost is silent and all else is the same.
//
// # Delivery
//
// Publish and Request are core NATS: at most once. Nothing is buffered while a connection is lost (a write that waits there may commit
// any time later): it is an error at once. A request that nobody listens for is ErrNoResponders at once. A request whose connection
// breaks is ErrDisconnected: it may have been acted on. A handler's queue is bounded, and beyond it the answer is ErrBusy, never silence.
//
// # Goroutines
//
// Subscribe and Handle share one goroutine each per connection, whatever the number of subscriptions (a goroutine for each of 10,000
// costs 48 MB, a NATS service for each 467 MB); a request that is being handled has one for that time. Close waits for all of them.
package bus
