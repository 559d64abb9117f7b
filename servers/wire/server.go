package wire

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus"
)

const (
	inboundBuffer = 64 << 10 // messages that wait for the one goroutine that sorts them
	beatEvery     = 5 * time.Second
	ackAfter      = 100 * time.Millisecond
)

// ServerOptions are for all that is served over one connection; nil is all defaults.
type ServerOptions struct {
	Scope      string // "": "default"
	MaxMessage int    // the largest message in bytes, both ways (0: DefaultMaxMessage)
	Logger     *slog.Logger
}

// Server carries any number of served names over one connection: one channel and one goroutine for all their subscriptions, and one for
// their signs of life. All methods may be called concurrently.
type Server struct {
	nc    *nats.Conn
	scope string
	limit int
	log   *slog.Logger
	inbox string // where the server tells us that nobody listens
	in    chan *nats.Msg

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	routes map[*nats.Subscription]*Serving
	live   map[*Serving]struct{}
	asked  map[string]*missing // signs of life by their reply token
	own    *nats.Subscription
}

// missing is what is known about the other side of a session or a long call. The Server's lock guards it.
type missing struct {
	serving *Serving
	stream  *stream // where it goes to is where the signs of life go
	token   string  // where it is said that nobody was there
	gone    func()
	lost    bool // the last one found nobody
	n       int  // so many in a row did
}

const (
	goneAfter = 3           // signs of life in a row that find nobody: a client that reconnects is away that long
	goneEvery = time.Second // between these
)

// NewServer starts a Server on conn. It ends with Close, never by itself: while the connection is away it waits.
func NewServer(conn *bus.Conn, opts *ServerOptions) (*Server, error) {
	if opts == nil {
		opts = &ServerOptions{}
	}
	nc := conn.NATS()
	s := &Server{
		nc: nc, scope: orDefault(opts.Scope, "default"), limit: opts.MaxMessage, log: opts.Logger,
		inbox: nc.NewInbox(), in: make(chan *nats.Msg, inboundBuffer),
		routes: map[*nats.Subscription]*Serving{}, live: map[*Serving]struct{}{}, asked: map[string]*missing{},
	}
	if s.limit <= 0 {
		s.limit = DefaultMaxMessage
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	own, err := nc.ChanSubscribe(s.inbox+".*", s.in)
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.own = own
	s.work.Go(s.sort)
	s.work.Go(s.beat)
	return s, nil
}

// Close closes all that is still served and waits for it.
func (s *Server) Close() error {
	s.mu.Lock()
	var live []*Serving
	for serving := range s.live {
		live = append(live, serving)
	}
	s.mu.Unlock()
	for _, serving := range live {
		_ = serving.Close()
	}
	_ = s.own.Unsubscribe() // fails only on a closed connection
	s.cancel()
	s.work.Wait()
	return nil
}

// sort hands each message to the serving that it is for. It never waits for a backend.
func (s *Server) sort() {
	for {
		select {
		case msg := <-s.in:
			s.take(msg)
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Server) take(msg *nats.Msg) {
	if token, ok := strings.CutPrefix(msg.Subject, s.inbox+"."); ok {
		s.mu.Lock()
		m := s.asked[token]
		s.mu.Unlock()
		if m != nil {
			s.heard(m, msg)
		}
		return
	}
	s.mu.Lock()
	serving := s.routes[msg.Sub]
	s.mu.Unlock()
	subject, err := ParseSubject(msg.Subject)
	switch {
	case err != nil:
		s.turnDown(msg, fail(CodeRefused, err.Error(), Facts{}))
	case serving == nil: // unsubscribed while the message was under way
		s.turnDown(msg, fail(CodeNotValid, subject.Name+": the instance is closing", Facts{Name: subject.Name}))
	default:
		serving.take(msg, subject)
	}
}

// turnDown answers a message that is not acted upon. It does not wait for a lost connection.
func (s *Server) turnDown(msg *nats.Msg, err *Error) {
	s.log.Debug("turned down", "subject", msg.Subject, "err", err)
	if msg.Reply == "" {
		return
	}
	var id []byte
	if m, scanErr := Scan(msg.Data); scanErr == nil || m.id.to > 0 {
		id = m.ID()
	}
	_ = s.nc.PublishMsg(&nats.Msg{Subject: msg.Reply, Data: err.Response(id), Header: nats.Header{
		HeaderWire: {Version}, HeaderFrame: {frameError}, HeaderSeq: {"1"},
	}})
}

// subscribe adds a route. What arrives at once waits for the lock.
func (s *Server) subscribe(serving *Serving, subject, queue string) (*nats.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sub *nats.Subscription
	var err error
	if queue == "" {
		sub, err = s.nc.ChanSubscribe(subject, s.in)
	} else {
		sub, err = s.nc.ChanQueueSubscribe(subject, queue, s.in)
	}
	if err != nil {
		return nil, err
	}
	s.routes[sub] = serving
	return sub, nil
}

func (s *Server) unsubscribe(sub *nats.Subscription) {
	_ = sub.Unsubscribe() // fails only on a closed connection, where it is gone anyway
	s.mu.Lock()
	delete(s.routes, sub)
	s.mu.Unlock()
}

// beat sends a sign of life to each session and to each call that takes long. Where nobody listens twice in a row, the other side is gone.
func (s *Server) beat() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	back := s.nc.StatusChanged(nats.CONNECTED)
	defer s.nc.RemoveStatusListener(back)
	for {
		again := false
		select {
		case <-tick.C:
		case <-back:
			again = true
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		var live []*Serving
		for serving := range s.live {
			live = append(live, serving)
		}
		if !again {
			clear(s.asked)
		}
		s.mu.Unlock()
		if again { // what could not be published meanwhile
			for _, serving := range live {
				serving.spawn(serving.catchUp)
			}
			continue
		}
		for _, serving := range live {
			serving.beat()
		}
	}
}

// ask sends one sign of life.
func (s *Server) ask(m *missing) {
	s.mu.Lock()
	if !m.lost {
		m.n = 0
	}
	m.lost = false
	s.asked[m.token] = m
	s.mu.Unlock()
	if to := m.stream.address(); to != "" && s.nc.IsConnected() {
		_ = s.nc.PublishMsg(&nats.Msg{Subject: to, Reply: s.inbox + "." + m.token, Header: nats.Header{
			HeaderWire: {Version}, HeaderFrame: {frameBeat},
		}}) // the next one will tell
	}
}

// heard takes what came back for a sign of life: that nobody listens, or that nobody waits any more.
func (s *Server) heard(m *missing, msg *nats.Msg) {
	farewell := msg.Header.Get(HeaderFrame) == frameBye
	if !farewell && !noResponders(msg) {
		return
	}
	s.mu.Lock()
	m.lost = true
	m.n++
	gone := farewell || m.n >= goneAfter
	s.mu.Unlock()
	if gone {
		m.serving.spawn(m.gone)
		return
	}
	time.AfterFunc(goneEvery, func() {
		if s.ctx.Err() == nil {
			s.ask(m)
		}
	})
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
