//go:build linux

package faults_test

import (
	"testing"

	"github.com/toolbus/toolbus/bench/faults"
)

func TestMain(m *testing.M) { faults.Main(m) }
