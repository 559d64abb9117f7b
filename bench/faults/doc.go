// Package faults shows what the registry does on the worst day. It runs real nodes and real clients, each a process of its own, breaks them and the links between
// them while they work, takes down what every client was told and when, and checks the whole record afterwards. README.md has the commands.
//
// # A run
//
// Three nodes keep a scope; some clients claim names, give them up, hand them on, take them over, wait for them, share them, join groups, and read, fresh and
// cached. Every link, from client to node and from node to node, goes through a proxy of ours (Network), which tells the links apart by what is said on
// them. A schedule of faults, made from a seed like all that the clients do, goes over it. Then everything is healed, the clients say what they hold,
// and the checkers look.
//
// # The record
//
// Each process writes lines of JSON (Record), all on one clock: the machine's boot time, which every process reads alike. A call is written down
// before it is made and again when it has returned, so one that was cut short by kill -9 is known to have begun. For how long an owner served is kept in
// a page of shared memory (Marks), which a kill does not lose either: when it asked Serving last and was told yes.
//
// # The checks
//
// The names, and apart from them shared names and groups, are checked with porcupine, each alone, against a model of ten lines. What ends a session is not
// free: an end has to have been told to its owner, seen by a watcher, or be that of a process that was killed. Beside it each promise has a checker of its own
// (check_*.go), which is shown forged records, good and bad, in a test.
package faults
