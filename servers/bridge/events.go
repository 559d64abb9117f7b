package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// event is one of a stream of server-sent events.
type event struct {
	name, id, retry string
	data            []byte
}

// errEventTooLong: an event is longer than a message may be.
var errEventTooLong = errors.New("bridge: an event is longer than a message may be")

// readEvents gives each event of a stream to each, until the stream ends. The error is nil where it ended in good order, else the stream's, or
// errEventTooLong.
func readEvents(r io.Reader, limit int, each func(event)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var e event
	any := false
	for {
		line, err := eventLine(in, limit)
		if err == io.EOF {
			return nil // what is not closed by an empty line is no event
		}
		if err != nil {
			return err
		}
		if len(line) == 0 {
			if any {
				each(e)
			}
			e, any = event{}, false
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if len(e.data)+len(value) > limit {
				return errEventTooLong
			}
			if e.data != nil {
				e.data = append(e.data, '\n')
			}
			e.data, any = append(e.data, value...), true
			if e.data == nil {
				e.data = []byte{}
			}
		case "event":
			e.name, any = string(value), true
		case "id":
			e.id, any = string(value), true
		case "retry":
			e.retry, any = string(value), true
		}
	}
}

// eventLine reads one line without its end, which is \n or \r\n.
func eventLine(in *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit+64 {
			return nil, errEventTooLong
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, err
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
	}
}
