package wire

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
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
	frameError        = "err"   // a response that the wire made and not the server
	frameAck          = "ack"   // nothing yet: names instance and lease
	frameBeat         = "hb"    // the answer to a probe, or a sign of life on an idle stream; has no number
	frameProbe        = "probe" // asks an instance what it is doing for this caller
	frameBye          = "bye"   // the session has ended
)

// DefaultMaxMessage is the size of the largest message that is carried, in bytes.
const DefaultMaxMessage = 64 << 20

// partRoom is what a frame needs beside its body: headers of ours.
const partRoom = 1 << 10

// linkPatience is how long a frame waits for its connection to come back before it is given up.
const linkPatience = 10 * time.Second

// stream is one ordered flow of numbered frames to one subject.
type stream struct {
	nc      *nats.Conn
	subject string
	who     *identity // goes on the first frame, if not nil

	mu   sync.Mutex // held while publishing, so that numbers go out in order
	seq  uint64
	over bool // nothing may follow
}

type identity struct{ instance, lease, name string }

// send publishes one message as one frame, or as several parts. It waits for a lost connection up to linkPatience. last ends the stream;
// after that send does nothing and returns false.
func (s *stream) send(kind string, body []byte, last bool, headers ...string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false, nil
	}
	s.over = last
	return true, s.publish(kind, body, headers)
}

// first publishes a frame without a body if the stream has had none yet.
func (s *stream) first(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq == 0 && !s.over {
		_ = s.publish(kind, nil, nil) // a lost ack shows as a gap
	}
}

// sent is how many frames have gone out, and whether the stream is over.
func (s *stream) sent() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

func (s *stream) publish(kind string, body []byte, headers []string) error {
	size := int(s.nc.MaxPayload()) - partRoom
	parts := 1
	if len(body) > size {
		if size <= 0 {
			return fmt.Errorf("wire: the server takes no payload of %d bytes", s.nc.MaxPayload())
		}
		parts = (len(body) + size - 1) / size
	}
	for i := range parts {
		s.seq++
		msg := &nats.Msg{Subject: s.subject, Header: nats.Header{
			HeaderWire: {Version}, HeaderFrame: {kind}, HeaderSeq: {strconv.FormatUint(s.seq, 10)},
		}}
		if s.seq == 1 && s.who != nil {
			msg.Header[HeaderInstance] = []string{s.who.instance}
			msg.Header[HeaderLease] = []string{s.who.lease}
			msg.Header[HeaderServer] = []string{s.who.name}
		}
		for h := 0; h+1 < len(headers); h += 2 {
			msg.Header[headers[h]] = []string{headers[h+1]}
		}
		msg.Data = body
		if parts > 1 {
			msg.Header[HeaderPart] = []string{formatPart(i+1, parts)}
			msg.Data = body[i*size : min((i+1)*size, len(body))]
		}
		if err := publish(s.nc, msg); err != nil {
			return err
		}
	}
	return nil
}

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
	a.next, a.n = i, n
	a.body = append(a.body, data...)
	if i < n {
		return nil, nil
	}
	body := a.body
	*a = assembly{}
	return body, nil
}

// noResponders tells whether msg is the server's own message that nobody listens.
func noResponders(msg *nats.Msg) bool { return len(msg.Data) == 0 && msg.Header.Get("Status") == "503" }
