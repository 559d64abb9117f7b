//go:build !race

package registry

// exploreSlow tells that the race detector makes every state ten times as dear.
const exploreSlow = false
