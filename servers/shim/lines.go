package shim

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"
)

var errLineTooLong = errors.New("shim: the line is too long")

// readLine reads one line without its end. A line over the limit is read to its end and is errLineTooLong.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		piece, err := r.ReadSlice('\n')
		if !long && len(line)+len(piece) > limit+2 {
			line, long = nil, true
		}
		if !long {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && !long):
			return nil, err
		case long:
			return nil, errLineTooLong
		}
		for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
			line = line[:len(line)-1]
		}
		return line, nil
	}
}

// lineWriter writes messages, one a line. Its methods may be called concurrently; lines are never mixed.
type lineWriter struct {
	broken func(error)

	mu  sync.Mutex // held while writing, which may wait for the reader
	w   io.Writer
	buf []byte

	queue   sync.Mutex
	own     [][]byte      // waits for drain
	working chan struct{} // closed when drain has ended; nil: it does not run
}

func newLineWriter(w io.Writer, broken func(error)) *lineWriter {
	return &lineWriter{w: w, broken: broken}
}

// smallLine is up to where a message and its line break are one write.
const smallLine = 64 << 10

// write writes one message, and waits while the reader is slow.
func (l *lineWriter) write(msg json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if len(msg) < smallLine {
		l.buf = append(append(l.buf[:0], msg...), '\n')
		_, err = l.w.Write(l.buf)
	} else if _, err = l.w.Write(msg); err == nil {
		_, err = l.w.Write([]byte{'\n'})
	}
	if err != nil {
		l.broken(err)
	}
}

// later queues a message of the shim's own, and does not wait.
func (l *lineWriter) later(msg json.RawMessage) {
	l.queue.Lock()
	defer l.queue.Unlock()
	l.own = append(l.own, msg)
	if l.working == nil {
		l.working = make(chan struct{})
		go l.drain(l.working)
	}
}

// drain writes what is queued, and ends.
func (l *lineWriter) drain(done chan struct{}) {
	defer close(done)
	for {
		l.queue.Lock()
		if len(l.own) == 0 {
			l.working = nil
			l.queue.Unlock()
			return
		}
		msg := l.own[0]
		l.own = l.own[1:]
		l.queue.Unlock()
		l.write(msg)
	}
}

// finish waits until what is queued is written, no longer than that.
func (l *lineWriter) finish(limit time.Duration) {
	l.queue.Lock()
	working := l.working
	l.queue.Unlock()
	if working == nil {
		return
	}
	select {
	case <-working:
	case <-time.After(limit):
	}
}
