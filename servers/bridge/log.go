package bridge

import (
	"sync"
	"time"
)

// LogLine is one line that a child wrote to stderr, or that the bridge says of it.
type LogLine struct {
	Seq  uint64    `json:"seq"` // grows by one with each line of an instance
	Time time.Time `json:"time"`
	PID  int       `json:"pid,omitempty"` // of the child that wrote it; 0: the bridge says it
	Text string    `json:"text"`
}

// defaultLogLines is how many lines a Log keeps.
const defaultLogLines = 1000

// Log keeps the last lines of a command's children. Its methods may be called concurrently.
type Log struct {
	mu    sync.Mutex
	lines []LogLine // a ring once it is full
	max   int
	seq   uint64
	more  chan struct{} // closed when a line comes, and made anew
}

func newLog(max int) *Log {
	if max <= 0 {
		max = defaultLogLines
	}
	return &Log{max: max, more: make(chan struct{})}
}

// add keeps one line.
func (l *Log) add(pid int, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	line := LogLine{Seq: l.seq, Time: time.Now().UTC(), PID: pid, Text: text}
	if len(l.lines) < l.max {
		l.lines = append(l.lines, line)
	} else {
		l.lines[(l.seq-1)%uint64(l.max)] = line
	}
	close(l.more)
	l.more = make(chan struct{})
}

// note keeps a line of the bridge's own.
func (l *Log) note(text string) { l.add(0, clean(text, maxTailLine)) }

// After returns the lines after the one with the number seq, as far as they are kept, at most limit of them (0: all), the oldest first; and a channel that is
// closed when another one comes.
func (l *Log) After(seq uint64, limit int) ([]LogLine, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := uint64(len(l.lines))
	from := max(seq, l.seq-n)
	if from > l.seq { // of a bridge before this one: it has to begin anew
		from = l.seq - n
	}
	count := l.seq - from
	if limit > 0 {
		count = min(count, uint64(limit))
	}
	out := make([]LogLine, 0, count)
	for i := from; i < from+count; i++ {
		out = append(out, l.lines[i%uint64(l.max)])
	}
	return out, l.more
}
