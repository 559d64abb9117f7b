// Command toolbus puts MCP servers on one bus under names of their own, finds them and calls them.
//
// The program is a table of commands (command.go), one file each, around four things that all of them share:
//
//   - env.go: what the user asked for. A flag goes before a variable (NATS_* as the nats CLI has them, TOOLBUS_*), that before the
//     selected nats context, that before the default, nats://127.0.0.1:4222, where a node listens.
//   - output.go: the only place that formats. Data goes to stdout, everything else to stderr. A command hands over one listing or
//     document, and -o says whether people or programs read it. There are escape sequences on a terminal only.
//   - exit.go: one table that says for each error which exit code it is, and by which word JSON names it.
//   - hints.go: what the user can do about it. No error without a hint.
//
// Commands that only read create nothing: a scope that nobody has written to is empty. Commands that stay (up, run, watch, demo --keep)
// end at the first SIGINT or SIGTERM in good order, at the second at once, and leave with 130 or 143.
//
// Whoever starts a process here keeps a pipe to it: a child ends when its stdin does, however its parent died.
package main
