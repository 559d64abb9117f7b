package gateway

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"
)

// eventWriter writes an answer that is a stream of server-sent events. One goroutine uses it.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration // how long the client may take nothing at all
	head    []byte
}

// writeSlice is how much is written before the deadline of a slow client is set anew.
const writeSlice = 64 << 10

var eventEnd = []byte("\n\n")

// newEventWriter sends the header of the answer.
func newEventWriter(w http.ResponseWriter, stall time.Duration) (*eventWriter, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no") // else nginx keeps events until it has some kilobytes
	w.WriteHeader(http.StatusOK)
	e := &eventWriter{w: w, control: http.NewResponseController(w), stall: stall}
	return e, e.flush()
}

// event writes one message.
func (e *eventWriter) event(id string, msg []byte) error {
	e.head = append(e.head[:0], "event: message\n"...)
	if id != "" {
		e.head = append(append(append(e.head, "id: "...), id...), '\n')
	}
	e.head = append(e.head, "data: "...)
	if bytes.ContainsAny(msg, "\r\n") {
		msg = bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' { // they stand between tokens only, where JSON takes a space as well
				return ' '
			}
			return r
		}, msg)
	}
	return e.write(e.head, msg, eventEnd)
}

// prime gives the client a place to go on from before there is any message, and says how soon it may.
func (e *eventWriter) prime(id string, retry time.Duration) error {
	e.head = append(append(append(e.head[:0], "id: "...), id...), "\nretry: "...)
	e.head = strconv.AppendInt(e.head, retry.Milliseconds(), 10)
	return e.write(append(e.head, "\ndata: \n\n"...))
}

// comment writes what every client skips: a sign of life for the proxies on the way.
func (e *eventWriter) comment(text string) error {
	return e.write(append(append(append(e.head[:0], ": "...), text...), "\n\n"...))
}

func (e *eventWriter) write(parts ...[]byte) error {
	for _, part := range parts {
		if err := writeSlowly(e.w, e.control, part, e.stall); err != nil {
			return err
		}
	}
	return e.flush()
}

func (e *eventWriter) flush() error {
	_ = e.control.SetWriteDeadline(time.Now().Add(e.stall)) // not every ResponseWriter has one
	return e.control.Flush()
}

// writeSlowly writes to a client that may be slow, but not dead: it must take something within stall each time.
func writeSlowly(w io.Writer, control *http.ResponseController, data []byte, stall time.Duration) error {
	for len(data) > 0 {
		n := min(len(data), writeSlice)
		_ = control.SetWriteDeadline(time.Now().Add(stall))
		if _, err := w.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
