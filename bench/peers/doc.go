// Peers measures what others would use instead of toolbus, beside toolbus, in the same run and in the same cases:
//
//	go -C bench/peers run . register contend         (in a checkout; -rounds 9, -o json, -curves as in toolbus bench)
//
// etcd is embedded, three members in processes of their own, with its default of a synced write-ahead log. Plain NATS is three nats-servers with their defaults,
// used as one would by hand: a key-value bucket of three replicas, Create for a name, Put for a membership. Erlang is the machine's erl, three VMs with
// busy waiting off, and a program of our own (erlang/bench_peer.erl) with global and pg. What is not on the machine is skipped with a line, and installed by nobody: on Debian
//
//	apt-get install --no-install-recommends erlang-base erlang-dev
//
// global and pg keep nothing on disk. gproc and syn are not measured here.
//
// This is a module of its own so that none of this is in the one that people import.
package main
