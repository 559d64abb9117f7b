//go:build linux

package faults

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// SeedEnv replays a run: go test -run TestSeed with the seed that a failing run has printed.
const SeedEnv = "TOOLBUS_FAULTS_SEED"

// Seed is that of the environment or else that of the commit, so that each commit is tried with another, and the same one always with the same. Outside a
// repository it is 1.
func Seed() (uint64, error) {
	if text := os.Getenv(SeedEnv); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", SeedEnv, err)
		}
		return seed, nil
	}
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return 1, nil
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.TrimSpace(string(out))))
	return h.Sum64() >> 1, nil
}
