package bridge

import (
	"bufio"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// maxTailLine bounds a kept line, in bytes; a longer one is cut.
const maxTailLine = 1024

// tail keeps the last lines of a stream.
type tail struct {
	mu    sync.Mutex
	lines []string // a ring once it is full
	next  int
	max   int
}

func newTail(max int) *tail { return &tail{max: max} }

// add keeps one line, cleaned, and returns it; an empty one is dropped.
func (t *tail) add(line string) string {
	line = clean(line, maxTailLine)
	if line == "" || t.max <= 0 {
		return line
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < t.max {
		t.lines = append(t.lines, line)
		return line
	}
	t.lines[t.next] = line
	t.next = (t.next + 1) % t.max
	return line
}

// last returns a copy of the kept lines, the newest at the end.
func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return nil
	}
	return append(append([]string(nil), t.lines[t.next:]...), t.lines[:t.next]...)
}

// readFrom keeps the lines of r, copies r to w and gives each line to each, where there are those, until r ends. A writer that fails is left out
// from then on. However long a line is, no more than its beginning is held.
func (t *tail) readFrom(r io.Reader, w io.Writer, each func(line string)) {
	in := bufio.NewReaderSize(r, 4*maxTailLine)
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if w != nil && len(part) > 0 {
			if _, werr := w.Write(part); werr != nil {
				w = nil
			}
		}
		if room := maxTailLine - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if kept := t.add(string(line)); kept != "" && each != nil {
			each(kept)
		}
		line = line[:0]
		if err != nil {
			return
		}
	}
}

// escapes are the terminal sequences that programs colour their output with.
var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]|\x1b\\][^\x07]*\x07")

// clean makes foreign text fit for a log line or an error: valid UTF-8 without escapes and control characters, at most limit bytes.
func clean(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	text = escapes.ReplaceAllString(strings.ToValidUTF8(text, "?"), "")
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, text)
	return strings.TrimSpace(text)
}
