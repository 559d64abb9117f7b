package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The headers of the wire. Mcp-Wire stands on every frame of ours, in both directions; a caller may leave out all the others that
// subject and body tell anyway.
const (
	HeaderWire     = "Mcp-Wire"             // the version of this wire: "1"
	HeaderFrame    = "Mcp-Frame"            // the kind of the frame
	HeaderSeq      = "Mcp-Seq"              // the number of the frame in its stream, from 1
	HeaderPart     = "Mcp-Part"             // "i/n": the message travels in n frames
	HeaderInstance = "Mcp-Instance"         // who answers; on the first frame of an answer
	HeaderLease    = "Mcp-Lease"            // the lease that this instance lives by; on the first frame
	HeaderServer   = "Mcp-Server"           // the name that this instance serves; on the first frame
	HeaderSession  = "Mcp-Session"          // <instance>.<session>, on the answer to initialize
	HeaderDownlink = "Mcp-Downlink"         // on initialize: where what the server says by itself shall go
	HeaderIdle     = "Mcp-Idle"             // on initialize, instead of a downlink: the seconds that the session lives unused
	HeaderStream   = "Mcp-Stream"           // the stream of a session that this frame begins
	HeaderAfter    = "Mcp-After"            // the last frame that was seen: of a stream, or <stream>-<frame>
	HeaderCall     = "Mcp-Call"             // the reply subject of the call that this frame belongs to
	HeaderToken    = "Mcp-Token"            // the fencing token of the owner that the caller means
	HeaderMethod   = "Mcp-Method"           // mirror of the body; checked if there
	HeaderName     = "Mcp-Name"             // mirror of the body's target; checked if there
	HeaderVersion  = "Mcp-Protocol-Version" // mirror of the body's _meta; checked if there
)

// Version is the version of the wire that this package speaks.
const Version = "1"

// The kinds of frames.
const (
	frameRequest      = "rq"
	frameNotification = "nt"
	frameResponse     = "rs"
	frameError        = "err"    // a response that the wire made and not the server
	frameAck          = "ack"    // nothing yet: names instance and lease
	frameBeat         = "hb"     // the answer to a probe, or a sign of life on an idle stream; has no number
	frameProbe        = "probe"  // asks an instance what it is doing for this caller
	frameBye          = "bye"    // the session has ended
	frameResume       = "resume" // asks for the frames of a stream after one
	frameCredit       = "credit" // the frames of a stream up to one were taken
)

// DefaultMaxMessage is the size of the largest message that is carried, in bytes.
const DefaultMaxMessage = 64 << 20

// partRoom is what a frame needs beside its body: headers of ours.
const partRoom = 1 << 10

// linkPatience is how long a frame waits for its connection to come back before it is given up.
const linkPatience = 10 * time.Second

// publish waits while the connection is away: what it sends is numbered, so the other side sees whether something was lost.
func publish(nc *nats.Conn, msg *nats.Msg) error {
	deadline := time.Now().Add(linkPatience)
	for {
		err := nc.PublishMsg(msg)
		if err == nil || nc.IsConnected() || nc.IsClosed() || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond) // the library says nothing to a publisher when it is back
	}
}

func formatPart(i, n int) string { return strconv.Itoa(i) + "/" + strconv.Itoa(n) }

// assembly puts the parts of a message together again. They come in order.
type assembly struct {
	body []byte
	next int
	n    int

	count int // parts of the last message that came
	told  int // bytes of it that its sender knows to be taken
}

// add takes one frame. It returns the whole message once it is complete, nil before.
func (a *assembly) add(part string, data []byte, limit int) ([]byte, error) {
	if part == "" {
		if a.n != 0 {
			return nil, fmt.Errorf("wire: a message began before the parts of another were there")
		}
		if len(data) > limit {
			return nil, ErrTooLarge
		}
		if data == nil {
			data = []byte{}
		}
		return data, nil
	}
	first, second, ok := strings.Cut(part, "/")
	i, err1 := strconv.Atoi(first)
	n, err2 := strconv.Atoi(second)
	if !ok || err1 != nil || err2 != nil || i < 1 || i > n || a.n != 0 && n != a.n || i != a.next+1 {
		return nil, fmt.Errorf("wire: part %q does not follow part %d of %d", part, a.next, a.n)
	}
	if len(a.body)+len(data) > limit {
		return nil, ErrTooLarge
	}
	a.next, a.n, a.count = i, n, i
	a.body = append(a.body, data...)
	if i < n {
		return nil, nil
	}
	body := a.body
	*a = assembly{count: n}
	return body, nil
}

// noResponders tells whether msg is the server's own message that nobody listens.
func noResponders(msg *nats.Msg) bool { return len(msg.Data) == 0 && msg.Header.Get("Status") == "503" }
