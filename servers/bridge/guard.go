package bridge

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The guard's two descriptors beside the three that it hands to the child.
const (
	guardLife   = 3 // read: orders of the bridge; its end means that the bridge is gone
	guardStatus = 4 // write: what becomes of the child
)

// guardSelf is how the guard's own failures leave it, as a shell has them for a command that it cannot run.
const guardSelf = 127

// What the bridge says to a guard, a line each.
const (
	orderTerm = "term" // SIGTERM to the child's process group
	orderKill = "kill" // SIGKILL to it
)

// exit is how a child ended, as the guard tells it.
type exit struct {
	status int
	signal syscall.Signal
	cause  string // instead of both
}

// report is one line of the guard: "started PID", "exit N", "signal N", "error TEXT".
type report struct {
	pid   int    // of a start
	ended *exit  // of an end
	fail  string // of a start that failed
}

func (r report) String() string {
	switch {
	case r.pid != 0:
		return "started " + strconv.Itoa(r.pid)
	case r.ended != nil && r.ended.signal != 0:
		return "signal " + strconv.Itoa(int(r.ended.signal))
	case r.ended != nil:
		return "exit " + strconv.Itoa(r.ended.status)
	}
	return "error " + strings.ReplaceAll(r.fail, "\n", " ")
}

func parseReport(line string) (report, error) {
	word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if word == "error" {
		return report{fail: rest}, nil
	}
	n, err := strconv.Atoi(rest)
	switch {
	case err != nil:
	case word == "started" && n > 0:
		return report{pid: n}, nil
	case word == "exit":
		return report{ended: &exit{status: n}}, nil
	case word == "signal" && n > 0:
		return report{ended: &exit{status: -1, signal: syscall.Signal(n)}}, nil
	}
	return report{}, fmt.Errorf("bridge: the guard said %q", clean(line, 200))
}

// parseGuard takes a guard's arguments apart: [--grace=D] [--] CMD [ARG...].
func parseGuard(args []string) (grace time.Duration, command []string, err error) {
	grace = defaultTermGrace
	for len(args) > 0 {
		switch value, isGrace := strings.CutPrefix(args[0], "--grace="); {
		case isGrace:
			if grace, err = time.ParseDuration(value); err != nil || grace < 0 {
				return 0, nil, fmt.Errorf("guard: no duration: %q", value)
			}
			args = args[1:]
			continue
		case args[0] == "--":
			args = args[1:]
		case strings.HasPrefix(args[0], "-"):
			return 0, nil, fmt.Errorf("guard: no such flag: %q", args[0])
		}
		break
	}
	if len(args) == 0 {
		return 0, nil, errors.New("guard: no command")
	}
	return grace, args, nil
}
