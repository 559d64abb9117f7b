// Package registrytest is the contract of the registry as tests, and a world to break it in.
//
// The contract (Run) is what any registry on any store promises to who calls it: one file is one chapter. It waits for what is promised by
// polling with a deadline, so that it runs in real time on real servers and in a testing/synctest bubble alike.
//
// The world is one process that plays many: a Hub carries the messages between them and loses connections, servers and messages when it is
// told to; a Store stands between a process and the log and makes writes late, lost or unheard; a Clock is one machine's and can be
// stepped. A Process is a registry with one of each, to be cut off, frozen or killed. With a Memory below and a bubble around it, an hour of
// failures takes milliseconds and is the same in each run.
//
// A frozen process cannot be had in one process: its goroutines go on. What is modelled is what others can see of it, and it of others:
// nothing. Its own reading of its clock goes on, so that a test can see when it would have ceased to serve.
package registrytest
