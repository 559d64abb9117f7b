package wire

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus"
)

const (
	frameTap  = "tap"
	methodTap = "toolbus/tap" // of the subject, so that a permission can tell who may tap

	tapFor  = 10 * time.Second // an instance forgets a tap that has not asked again
	maxTaps = 8                // at one instance

	headerFrom      = "Mcp-From"      // whose message it is, or for whom: not the session, which is a secret
	headerDirection = "Mcp-Direction" // up: to the server; down: from it
	headerSize      = "Mcp-Size"      // of the message, where it is too large for one frame and left out
)

// tap is somebody who wants a copy of each message.
type tap struct {
	subject string
	until   time.Time

	mu  sync.Mutex // held while publishing: numbers go out in order
	seq uint64
}

func (t *tap) extend(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = now.Add(tapFor)
}

func (t *tap) over(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.until.Before(now)
}

// tapped takes the wish for copies. An answer says that it is granted.
func (s *Serving) tapped(msg *nats.Msg, subject Subject) {
	var ask struct{ Inbox string }
	if subject.Method != MethodToken(methodTap) || subject.Session != "" || json.Unmarshal(msg.Data, &ask) != nil || !validDownlink(ask.Inbox) {
		s.server.turnDown(msg, fail(CodeRefused, "no inbox for copies, or not the subject "+methodTap, s.facts()))
		return
	}
	now := time.Now()
	s.mu.Lock()
	var live []*tap
	if old := s.taps.Load(); old != nil {
		live = slices.DeleteFunc(slices.Clone(*old), func(t *tap) bool { return t.subject != ask.Inbox && t.over(now) })
	}
	i := slices.IndexFunc(live, func(t *tap) bool { return t.subject == ask.Inbox })
	full := i < 0 && len(live) >= maxTaps
	switch {
	case i >= 0:
		live[i].extend(now)
	case !full:
		live = append(live, &tap{subject: ask.Inbox, until: now.Add(tapFor)})
	}
	s.taps.Store(&live)
	s.mu.Unlock()
	if full {
		s.server.turnDown(msg, fail(CodeBusy, fmt.Sprintf("%s: %d taps already", s.opts.Name, maxTaps), s.facts()))
		return
	}
	if msg.Reply != "" {
		_ = s.server.nc.PublishMsg(&nats.Msg{Subject: msg.Reply, Header: nats.Header{
			HeaderWire: {Version}, HeaderFrame: {frameBeat}, HeaderInstance: {s.opts.Instance}, HeaderLease: {s.opts.Lease},
		}}) // who hears nothing asks again
	}
}

// mirror gives each tap a copy. It costs one load where there is none. It never waits, and a copy that is lost shows as a gap.
func (s *Serving) mirror(direction, whose string, body []byte) {
	taps := s.taps.Load()
	if taps == nil || len(body) == 0 {
		return
	}
	now := time.Now()
	from := sha256.Sum256([]byte(whose))
	for _, t := range *taps {
		t.mu.Lock()
		if t.until.Before(now) {
			t.mu.Unlock()
			continue
		}
		t.seq++
		msg := &nats.Msg{Subject: t.subject, Data: body, Header: nats.Header{
			HeaderWire: {Version}, HeaderFrame: {frameTap}, HeaderSeq: {strconv.FormatUint(t.seq, 10)},
			HeaderInstance: {s.opts.Instance}, HeaderServer: {s.opts.Name}, headerDirection: {direction}, headerFrom: {hex.EncodeToString(from[:4])},
		}}
		if len(body) > int(s.server.nc.MaxPayload())-partRoom {
			msg.Data = nil
			msg.Header[headerSize] = []string{strconv.Itoa(len(body))}
		}
		_ = s.server.nc.PublishMsg(msg)
		t.mu.Unlock()
	}
}

// whose is what a call's messages have in common with all others of its caller.
func (c *call) whose() string {
	if c.of != nil {
		return c.of.whose
	}
	return inboxOf(c.reply)
}

func inboxOf(reply string) string { return reply[:strings.LastIndexByte(reply, '.')+1] }

// Copy is one message as an instance had it: what it accepted of a client, or what it said to one.
type Copy struct {
	Name, Instance string
	Client         string // the same for all messages of one client, and no more than that
	ToServer       bool
	Message        json.RawMessage // nil where it does not fit into one frame
	Size           int
	Missed         uint64 // so many copies before this one, of this instance, were lost
}

// Tap reads along at instances. Ask may be called beside Read; Read by one goroutine at a time.
type Tap struct {
	nc    *nats.Conn
	scope string
	inbox string
	in    chan *nats.Msg
	sub   *nats.Subscription
	seen  map[string]uint64 // the last number, by instance
}

// NewTap makes a Tap, which reads nothing before Ask. Scope "" is "default". It ends with Close.
func NewTap(conn *bus.Conn, scope string) (*Tap, error) {
	nc := conn.NATS()
	t := &Tap{nc: nc, scope: orDefault(scope, "default"), inbox: nc.NewInbox(), in: make(chan *nats.Msg, inboundBuffer), seen: map[string]uint64{}}
	sub, err := nc.ChanSubscribe(t.inbox, t.in)
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	t.sub = sub
	return t, nil
}

// Ask has an instance of name send copies for the next ten seconds: ask again in good time. ErrNoResponders: it is not there.
func (t *Tap) Ask(ctx context.Context, name, instance string) error {
	subject := Subject{Scope: t.scope, Kind: ByInstance, Instance: instance, Method: MethodToken(methodTap), Name: name}
	if err := subject.Validate(); err != nil {
		return err
	}
	body, _ := json.Marshal(map[string]string{"inbox": t.inbox})
	answer, err := t.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject.String(), Data: body, Header: nats.Header{HeaderWire: {Version}, HeaderFrame: {frameTap}}})
	facts := Facts{Name: name, Instance: instance}
	switch {
	case err == nats.ErrNoResponders:
		return fail(CodeNoResponders, "nobody listens at instance "+instance+" of "+name, facts)
	case err != nil:
		return err
	case answer.Header.Get(HeaderFrame) != frameBeat:
		var refused struct{ Error *Error }
		if json.Unmarshal(answer.Data, &refused) == nil && refused.Error != nil {
			return refused.Error
		}
		return fail(CodeForeign, name+" does not know taps", facts)
	}
	return nil
}

// Read waits for the next copy.
func (t *Tap) Read(ctx context.Context) (Copy, error) {
	for {
		select {
		case msg := <-t.in:
			seq, err := strconv.ParseUint(msg.Header.Get(HeaderSeq), 10, 64)
			if err != nil || msg.Header.Get(HeaderFrame) != frameTap {
				continue
			}
			c := Copy{
				Name: msg.Header.Get(HeaderServer), Instance: msg.Header.Get(HeaderInstance), Client: msg.Header.Get(headerFrom),
				ToServer: msg.Header.Get(headerDirection) == "up", Message: msg.Data, Size: len(msg.Data),
			}
			if size := msg.Header.Get(headerSize); size != "" {
				c.Message = nil
				c.Size, _ = strconv.Atoi(size)
			}
			if last := t.seen[c.Instance]; seq > last+1 {
				c.Missed = seq - last - 1
			}
			t.seen[c.Instance] = seq
			return c, nil
		case <-ctx.Done():
			return Copy{}, ctx.Err()
		}
	}
}

// Close ends the Tap. Instances notice within ten seconds.
func (t *Tap) Close() error { return t.sub.Unsubscribe() }
