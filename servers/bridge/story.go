package bridge

import (
	"strconv"
	"strings"
	"time"
)

// The keys of a bridged server's metadata that do not come from the server (those are in package servers).
const (
	MetaPID      = "child.pid"      // the process id of the first child
	MetaState    = "child.state"    // StateRunning, StateStarting, StateIdle
	MetaRestarts = "child.restarts" // how often it was started again; absent: never
	MetaExit     = "child.exit"     // how the one before ended, or why it did not start
	MetaStderr   = "child.stderr"   // its last lines on stderr
)

// What a first child can be, by MetaState.
const (
	StateRunning  = "running"
	StateStarting = "starting" // again, after one that ended
	StateIdle     = "idle"     // it comes with the next request
)

// maxStderr bounds the lines of stderr in a record of the registry, in bytes.
const maxStderr = 400

// story is what has happened to the first children. Stdio's lock guards it.
type story struct {
	starts   int // that became servers
	failures int // in a row: ends and starts that failed, since a child lasted
	since    time.Time
	last     error // the last failure, which may be long ago
	broken   bool  // it came last
}

// up notes a child that is a server.
func (y *story) up() {
	y.starts++
	y.broken = false
}

// ended notes the last failure of all.
func (y *story) ended(err error) { y.last, y.broken = err, true }

// failed notes a child that ended, or did not start. True: that was enough.
func (y *story) failed(err error, lived time.Duration, o RestartOptions) bool {
	if lived >= o.Stable {
		y.failures = 0
	}
	if y.failures == 0 {
		y.since = time.Now()
	}
	y.failures++
	y.ended(err)
	return y.failures > o.Tries || time.Since(y.since) > o.Limit
}

// wait is how long to wait before the next start.
func (y *story) wait(o RestartOptions) time.Duration {
	if y.failures == 0 || !y.broken {
		return 0
	}
	return o.delay(y.failures)
}

// over is why there will be no other child.
func (y *story) over(command string) error {
	if y.failures <= 1 {
		return y.last
	}
	return &RestartError{Command: command, Tries: y.failures - 1, For: time.Since(y.since), Err: y.last}
}

// facts are the metadata of the children. s.mu is held.
func (s *Stdio) facts() map[string]string {
	m := map[string]string{}
	s.lists.show(m)
	if s.opts.anonymous {
		return m
	}
	m[MetaState] = StateIdle
	if l := s.life; l != nil {
		m[MetaState] = StateStarting
		if l.child != nil {
			m[MetaState], m[MetaPID] = StateRunning, strconv.Itoa(l.child.Pid())
		}
	}
	if s.story.starts > 1 {
		m[MetaRestarts] = strconv.Itoa(s.story.starts - 1)
	}
	if err := s.story.last; err != nil {
		stderr := []string(nil)
		if exit := exited(err); exit != nil {
			m[MetaExit], stderr = exit.How()+" after "+round(exit.After).String(), exit.Stderr
		} else {
			m[MetaExit] = clean(err.Error(), maxStderr)
		}
		if said := strings.Join(stderr[max(0, len(stderr)-errorLines):], " | "); said != "" {
			m[MetaStderr] = clean(said[max(0, len(said)-maxStderr):], maxStderr)
		}
	}
	return m
}
