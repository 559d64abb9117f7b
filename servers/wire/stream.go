package wire

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

const (
	ringFrames = 256     // frames of a stream that are kept after they were taken
	ringBytes  = 1 << 20 // and bytes
	window     = 4 << 20 // bytes that may be under way before the other side has taken the first of them
)

// stream is one ordered flow of numbered frames to one subject. It keeps its last frames, and all that were not taken yet: the other side may ask
// for them again, and so may another process that takes its place.
type stream struct {
	nc *nats.Conn
	id string // within its session; "" outside
	// who goes on the first frame, if not nil.
	who *identity

	mu      sync.Mutex // held while publishing, so that numbers go out in order
	subject string     // "": nobody listens, it goes on into the ring
	frames  []frame    // those that are kept
	before  uint64     // frames that are kept no more
	kept    int        // bytes in frames
	out     uint64     // the last frame that was published
	taken   uint64     // the last frame that the other side is known to have
	open    int        // bytes published and not taken
	tail    uint64     // the last frame before the last message
	had     uint64     // the last message that a listener is known to have
	over    bool       // nothing may follow
	ended   bool       // nothing may be sent or resumed
}

// frame is one frame as it can be sent again.
type frame struct {
	kind, part string
	body       []byte
	headers    []string
}

// ends tells whether a message ends with the frame.
func (f *frame) ends() bool {
	i, n, _ := strings.Cut(f.part, "/")
	return i == n
}

type identity struct{ instance, lease, name string }

// errLost: what is asked for is not kept any more.
type errLost struct{ asked, first, last uint64 }

func (e *errLost) Error() string {
	return fmt.Sprintf("frame %d was asked for, frames %d to %d are kept", e.asked, e.first, e.last)
}

// send adds one message, as one frame or as several parts, and publishes what the window lets through. It never waits: while the connection is away the
// frames are kept. last ends the stream; after that send does nothing and returns false.
func (s *stream) send(kind string, body []byte, last bool, headers ...string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false, nil
	}
	s.over = last
	size := int(s.nc.MaxPayload()) - partRoom
	parts := 1
	if len(body) > size {
		if size <= 0 {
			return true, fmt.Errorf("wire: the server takes no payload of %d bytes", s.nc.MaxPayload())
		}
		parts = (len(body) + size - 1) / size
	}
	s.tail = s.last()
	for i := range parts {
		f := frame{kind: kind, body: body, headers: headers}
		if parts > 1 {
			f.part = formatPart(i+1, parts)
			f.body = body[i*size : min((i+1)*size, len(body))]
		}
		s.frames = append(s.frames, f)
		s.kept += len(f.body)
	}
	return true, s.flush()
}

// first publishes a frame without a body if the stream has had none yet.
func (s *stream) first(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last() == 0 && !s.over {
		s.frames = append(s.frames, frame{kind: kind})
		_ = s.flush() // a lost ack shows as a gap
	}
}

// last is the number of the last frame. s.mu is held.
func (s *stream) last() uint64 { return s.before + uint64(len(s.frames)) }

// sent is how many frames were published.
func (s *stream) sent() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out
}

// waits tells whether something of the stream is not published yet.
func (s *stream) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out < s.last() && !s.ended
}

// backlog is how many bytes wait for room.
func (s *stream) backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subject == "" || s.out == s.last() {
		return 0
	}
	n := 0
	for _, f := range s.frames[s.out-s.before:] {
		n += len(f.body)
	}
	return n
}

// address is where the frames go, "" if nobody listens.
func (s *stream) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subject
}

// flush publishes what waits, as far as the window goes. s.mu is held.
func (s *stream) flush() error {
	defer s.trim()
	for s.out < s.last() {
		f := &s.frames[s.out-s.before]
		if s.subject != "" {
			if s.open > 0 && s.open+len(f.body) > window {
				return nil // credit comes
			}
			if err := s.nc.PublishMsg(s.message(s.out+1, f)); err != nil {
				return err // the connection is away: see Server.beat
			}
			s.open += len(f.body)
		} else {
			s.taken = s.out + 1
		}
		s.out++
	}
	return nil
}

func (s *stream) message(seq uint64, f *frame) *nats.Msg {
	msg := &nats.Msg{Subject: s.subject, Data: f.body, Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {f.kind}, HeaderSeq: {strconv.FormatUint(seq, 10)},
	}}
	if seq == 1 && s.who != nil {
		s.sign(msg)
	}
	for h := 0; h+1 < len(f.headers); h += 2 {
		msg.Header[f.headers[h]] = []string{f.headers[h+1]}
	}
	if f.part != "" {
		msg.Header[HeaderPart] = []string{f.part}
	}
	return msg
}

// sign names instance, lease and name on a frame.
func (s *stream) sign(msg *nats.Msg) {
	msg.Header[HeaderInstance] = []string{s.who.instance}
	msg.Header[HeaderLease] = []string{s.who.lease}
	msg.Header[HeaderServer] = []string{s.who.name}
	if s.id != "" {
		msg.Header[HeaderStream] = []string{s.id}
	}
}

// trim lets go of what is kept beyond the ring and was taken. The frames of the last message stay. s.mu is held.
func (s *stream) trim() {
	if len(s.frames) <= ringFrames && s.kept <= ringBytes {
		return
	}
	n := 0
	for n < len(s.frames) && s.before+uint64(n) < s.taken && (len(s.frames)-n > ringFrames || s.kept > ringBytes) {
		if s.over && s.before+uint64(n) >= s.tail {
			break
		}
		s.kept -= len(s.frames[n].body)
		n++
	}
	if n == 0 {
		return
	}
	s.before += uint64(n)
	if n > len(s.frames)/2 {
		s.frames = append([]frame(nil), s.frames[n:]...)
	} else {
		clear(s.frames[:n])
		s.frames = s.frames[n:]
	}
}

// credit notes that the other side has taken the frames up to seq, and tells whether more may go out now.
func (s *stream) credit(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.out && seq > max(s.had, s.before) && s.frames[seq-s.before-1].ends() {
		s.had = seq
	}
	if seq > s.out || seq <= s.taken {
		return false
	}
	for n := max(s.taken, s.before); n < seq; n++ {
		s.open -= len(s.frames[n-s.before].body)
	}
	s.taken = seq
	s.trim()
	return s.out < s.last()
}

// more publishes what waits.
func (s *stream) more() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	return s.flush()
}

// resume sends the frames after one again.
func (s *stream) resume(after uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rewind(after); err != nil {
		return err
	}
	return s.flush()
}

// move sends the frames after one, and all that follow, to another subject. It returns where they went before. now: only what follows.
func (s *stream) move(subject string, after uint64, now bool) (old string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case now && s.id == downStream: // what was said while nobody listened waits for who does
		after = max(s.before, s.had)
	case now:
		after = s.last()
	}
	if err := s.rewind(after); err != nil {
		return "", err
	}
	s.had = max(s.had, after)
	old, s.subject = s.subject, subject
	ack := &nats.Msg{Subject: subject, Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {frameAck}, HeaderAfter: {EventID(s.id, after)},
	}}
	s.sign(ack)
	if err := s.nc.PublishMsg(ack); err != nil {
		return old, err
	}
	return old, s.flush()
}

// leave lets the stream go on into the ring if it still goes to a subject.
func (s *stream) leave(subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subject != subject {
		return false
	}
	s.subject, s.open = "", 0
	_ = s.flush() // nothing is published
	return true
}

func (s *stream) rewind(after uint64) error {
	switch {
	case after > s.last() || after < s.before:
		return &errLost{asked: after + 1, first: s.before + 1, last: s.last()}
	case s.ended:
		return ErrClosed
	}
	s.out, s.taken, s.open = after, after, 0
	return nil
}

// end lets go of all that is kept.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.ended = true, true
	s.before, s.frames, s.kept = s.last(), nil, 0
	s.out = s.before
}

// size is how many bytes are kept.
func (s *stream) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}
