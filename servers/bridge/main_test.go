//go:build unix

package bridge

import (
	"os"
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
)

// TestMain lets the test binary be its own guard and its own MCP servers: the first argument says what it is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if os.Args[1] == "guard" {
			os.Exit(GuardMain(os.Args[2:]))
		}
		if fake, ok := fakes[os.Args[1]]; ok {
			os.Exit(fake(os.Args[2:]))
		}
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // a race-enabled child would else stay for a second after its end
	bustest.Main(m, nil)                     // looks for leaked goroutines too
}

// self is the command line of this binary as a fake.
func self(t testing.TB, fake string, args ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := fakes[fake]; !ok {
		t.Fatalf("no fake %q", fake)
	}
	return append([]string{exe, fake}, args...)
}
