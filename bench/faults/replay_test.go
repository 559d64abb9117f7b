//go:build linux

package faults

import (
	"os"
	"testing"
)

// Records that were kept are checked again: TOOLBUS_FAULTS_DIR is the folder of a run.
func TestRecords(t *testing.T) {
	dir := os.Getenv("TOOLBUS_FAULTS_DIR")
	if dir == "" {
		t.Skip("TOOLBUS_FAULTS_DIR is a run's folder")
	}
	h, err := LoadHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Check(h, nil) {
		t.Error(f)
	}
}
