// Package bench measures: one file a question. Tests assert, benchmarks measure; nothing here fails for being slow.
//
//	go test -run '^$' -bench . -count 10 ./bench | tee new.txt
//
// The names are keys that benchstat understands: backend=memory, nodes=3. The backends are Memory, one node and a cluster of three nodes in this
// process, each with sync_interval always. Package tests keep benchmarks of their own parts beside them (kvstore, servers/wire).
package bench
