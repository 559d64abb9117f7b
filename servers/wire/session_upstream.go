package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// upstream is what one client says in a session, in numbered frames. The session's lock guards it.
type upstream struct {
	seq   uint64    // the last frame that came in order
	asked time.Time // when frames were asked for
	lacks time.Time // since when frames are missing; zero: none are
	taken uint64    // the last frame that the server has
	bytes int       // since the last credit
	told  uint64    // the last frame that the client knows to be taken
}

// resumeAgain is how long a client is given to send frames again.
const resumeAgain = 500 * time.Millisecond

// order checks the number that the client gave its frame, if it numbers them. What does not follow is asked for again, and comes again. n.mu is held.
func (n *session) order(msg *nats.Msg) (follows bool, err error) {
	text := msg.Header.Get(HeaderSeq)
	if text == "" {
		return true, nil
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return false, fmt.Errorf("a frame with the number %q", text)
	}
	from := msg.Reply[:strings.LastIndexByte(msg.Reply, '.')+1]
	up := n.ups[from]
	if up == nil {
		up = &upstream{}
		n.ups[from] = up
	}
	if seq == up.seq+1 {
		up.seq, up.lacks = seq, time.Time{}
		return true, nil
	}
	if seq > up.seq && time.Since(up.asked) > resumeAgain {
		if up.asked = time.Now(); up.lacks.IsZero() {
			up.lacks = up.asked
		}
		n.control(frameResume, from, up.seq)
	}
	return false, nil
}

// credit tells the client from time to time what the server has taken: it sends no more than a window ahead.
func (n *session) credit(msg *nats.Msg) {
	text := msg.Header.Get(HeaderSeq)
	if text == "" {
		return
	}
	from := msg.Reply[:strings.LastIndexByte(msg.Reply, '.')+1]
	n.mu.Lock()
	defer n.mu.Unlock()
	up := n.ups[from]
	up.taken++
	up.bytes += len(msg.Data)
	if up.bytes >= creditBytes || up.taken-up.told >= creditFrames {
		up.bytes, up.told = 0, up.taken
		n.control(frameCredit, from, up.taken)
	}
}

func (n *session) control(kind, from string, after uint64) {
	_ = n.serving.server.nc.PublishMsg(&nats.Msg{Subject: from + "u", Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {kind}, HeaderAfter: {strconv.FormatUint(after, 10)},
	}}) // lost ones are said again
}

// partTaken tells who sends a message in parts without numbers how many have come: after the first, each megabyte, and the last.
func (s *Serving) partTaken(a *assembly, reply string) {
	if a.next == 1 || a.n == 0 || len(a.body)-a.told >= creditBytes {
		a.told = len(a.body)
		s.partControl(frameCredit, reply, a.count)
	}
}

func (s *Serving) partControl(kind, reply string, parts int) {
	_ = s.server.nc.PublishMsg(&nats.Msg{Subject: reply, Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {kind}, HeaderAfter: {strconv.Itoa(parts)},
	}}) // lost ones are said again
}

// lacking tells whether frames of a client were asked for and did not come for too long.
func (n *session) lacking() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, up := range n.ups {
		if !up.lacks.IsZero() && time.Since(up.lacks) > beatEvery {
			return true
		}
	}
	return false
}
