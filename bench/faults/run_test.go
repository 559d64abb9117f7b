//go:build linux

package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/toolbus/toolbus/bench/faults"
)

// runLimit is how long one run may take before it is called hung.
const runLimit = 4 * time.Minute

// runSeed makes one run and fails with its seed and with what was found.
func runSeed(t *testing.T, c faults.RunConfig) faults.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	dir, err := os.MkdirTemp("", "toolbus-faults-")
	if err != nil {
		t.Fatal(err)
	}
	c.Dir, c.Log = dir, t.Logf
	res, err := faults.Run(ctx, c)
	t.Logf("seed %d: %d operations, %d of them changes, %d during %d faults, %d service overlaps; agreed %v after healing; %v in all",
		c.Seed, res.Ops, res.Writes, res.During, len(res.Faults), res.Overlaps, res.Healed.Round(time.Millisecond), res.Took.Round(time.Millisecond))
	for _, f := range res.Found {
		t.Errorf("%s", f)
	}
	if err != nil {
		t.Errorf("%v", err)
	}
	if t.Failed() {
		t.Logf("replay: %s=%d go test ./bench/faults -run TestSeed -count 1 -v; the records are in %s", faults.SeedEnv, c.Seed, dir)
		if res.Found == nil && err != nil {
			res.Found = []string{err.Error()}
		}
		if err := faults.Save(dir, res); err != nil {
			t.Log(err)
		}
	} else if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	return res
}

// A short seeded run: its seed is the commit's.
func TestSeed(t *testing.T) {
	if os.Getenv(faults.SeedEnv) == "" && os.Getenv("TOOLBUS_FAULTS_CI") == "" {
		t.Skip("TOOLBUS_FAULTS_CI=1 makes a run with the commit's seed, TOOLBUS_FAULTS_SEED one with a seed of yours")
	}
	seed, err := faults.Seed()
	if err != nil {
		t.Fatal(err)
	}
	runSeed(t, faults.RunConfig{Seed: seed})
}

// TOOLBUS_FAULTS runs, from TOOLBUS_FAULTS_SEED or the commit's seed on, and a line of JSON for each in the file TOOLBUS_FAULTS_OUT.
func TestRuns(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TOOLBUS_FAULTS"))
	if err != nil || n < 1 {
		t.Skip("TOOLBUS_FAULTS is how many runs to make")
	}
	seed, err := faults.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		t.Run(fmt.Sprint(seed+uint64(i)), func(t *testing.T) {
			res := runSeed(t, faults.RunConfig{Seed: seed + uint64(i)})
			if err := appendResult(res); err != nil {
				t.Error(err)
			}
		})
	}
}

func appendResult(res faults.Result) error {
	path := os.Getenv("TOOLBUS_FAULTS_OUT")
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return json.NewEncoder(f).Encode(res)
}
