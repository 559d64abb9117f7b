package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"
)

// noiseLogged is how many noise lines of a child are logged one by one; after that only each power of two is.
const noiseLogged = 10

// Read waits for the child's next message. After Close it returns io.ErrClosedPipe; after the child's end what is still there, then the
// *ExitError; ctx's error when ctx ends first, and nothing is lost then.
func (c *Child) Read(ctx context.Context) (json.RawMessage, error) {
	select {
	case <-c.closed:
		return nil, io.ErrClosedPipe
	default:
	}
	select {
	case msg, ok := <-c.msgs:
		if ok {
			return msg, nil
		}
	case <-c.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// stdout has ended, and the process ends too, soon: see readFrames.
	select {
	case <-c.dead:
		return nil, c.err
	case <-c.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readFrames passes the messages on stdout on until it ends. After Close it reads on without passing on: a child that cannot
// write its last words would not end well.
func (c *Child) readFrames() {
	defer c.p.stdout.Close()
	defer close(c.msgs)
	in := bufio.NewReaderSize(&pipeReader{f: c.p.stdout}, joinedFrame)
	for {
		line, size, id, err := readLine(in, c.opts.MaxFrame)
		if id == nil {
			c.pass(line)
		} else {
			c.skip(line, "longer than a message may be", size)
			if answer := id.answer(size, c.opts.MaxFrame); answer != nil {
				c.deliver(answer) // whoever waits for it waits no longer
			}
		}
		if err != nil {
			break
		}
	}
	t := time.NewTimer(brokenPatience)
	defer t.Stop()
	select {
	case <-c.dead:
	case <-t.C: // it has closed its stdout and lives: nothing will come from it any more
		c.end()
	}
}

// readLine reads up to the next newline, which it cuts off. Of a line longer than limit it returns the beginning, how long it was, and what
// was found of its id.
func readLine(in *bufio.Reader, limit int) (line []byte, size int, id *idFinder, err error) {
	for {
		part, err := in.ReadSlice('\n')
		whole := err == nil
		if whole {
			part = part[:len(part)-1]
		}
		size += len(part)
		if size <= limit {
			line = append(line, part...)
		} else {
			if id == nil {
				id = &idFinder{}
				id.feed(line)
				line = append(line, part...)[:min(size, maxTailLine)]
				line = append([]byte(nil), line...) // and let the rest go
			}
			id.feed(part)
		}
		if whole || err != bufio.ErrBufferFull {
			return line, size, id, err
		}
	}
}

// pass gives the messages in one line to Read: one as a rule, several from a batch, none from noise.
func (c *Child) pass(line []byte) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	if !isMessage(line) {
		// A prompt or a progress bar without a newline may stand before the message.
		i := bytes.Index(line, []byte(`{"`))
		if i <= 0 || !isMessage(line[i:]) {
			c.skip(line, "no message", len(line))
			return
		}
		c.skip(line[:i], "no message", i)
		line = line[i:]
	}
	if line[0] == '{' {
		c.deliver(line)
		return
	}
	var batch []json.RawMessage
	_ = json.Unmarshal(line, &batch) // it is valid
	for _, msg := range batch {
		c.deliver(msg)
	}
}

// isMessage tells JSON-RPC from noise. Log lines in JSON are noise too: hence the member's name, looked for as text, which is cheap
// and can only let through a line that no call waits for.
func isMessage(line []byte) bool {
	return (line[0] == '{' || line[0] == '[') && bytes.Contains(line, []byte(`"jsonrpc"`)) && json.Valid(line)
}

func (c *Child) deliver(msg json.RawMessage) {
	if c.opts.spoke != nil {
		c.opts.spoke()
	}
	select {
	case <-c.closed:
		return
	default:
	}
	select {
	case c.msgs <- msg:
	case <-c.closed:
	}
}

// skip counts and logs a line that is no message.
func (c *Child) skip(line []byte, why string, size int) {
	n := c.noise.Add(1)
	if n > noiseLogged && n&(n-1) != 0 {
		return
	}
	c.log.Warn("skipped a line on stdout", "why", why, "bytes", size, "line", clean(string(line[:min(len(line), 400)]), 200), "skipped", n)
}
