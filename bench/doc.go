// Package bench measures: one file a question. Tests assert, benchmarks measure; nothing here fails for being slow.
//
//	toolbus bench                                   all questions, on processes of this machine
//	toolbus bench register call --rounds 9 -o json
//	toolbus bench --curves --pictures docs          how costs grow, as pictures
//	go test -run '^$' -bench . -count 10 ./bench    what is one process's, for benchstat
//
// # What is compared
//
// A [Question] has cases, a [Case] is one piece of work, and several systems do it: ours, what others would use instead, and a floor, which is the least that
// the work could cost (a bare publish, a map, a loopback round trip). The systems take turns, round by round, so that a slow minute of the machine is slow for
// all; each figure is the median of the rounds and is printed beside its ratio to the floor. Compare ratios of one run, never times of two.
//
// The processor time is that of all processes together, nodes included: what a figure hides in another process shows there.
//
// # The lab
//
// Nodes and clients are processes, as they are in life: this program again, told what to do on stdin ([ChildMain]), so that they can be killed and frozen. Times
// of two processes are compared by the clock that all processes of a machine share. The nodes sync every write before they acknowledge it.
//
// The systems of others that need more than this module has are in the module bench/peers, which adds them to the same cases ([With]). The nodes of go
// benchmarks in this folder's tests are in the benchmark's own process; their names are keys for benchstat: backend=memory, nodes=3.
package bench
