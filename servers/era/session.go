package era

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// Request makes one modern request, with the id that stands in it, and gives what belongs to it. A *wire.Error, here or of the Stream, goes to the
// client as it is. The end of ctx cancels the request.
type Request func(ctx context.Context, msg json.RawMessage) (Stream, error)

// Singles makes the requests at a backend of this process.
func Singles(b wire.Stateless) Request {
	return func(ctx context.Context, msg json.RawMessage) (Stream, error) {
		pipe, err := b.Single(ctx)
		if err != nil {
			return nil, err
		}
		if err := pipe.Write(ctx, msg); err != nil {
			_ = pipe.Close() // it has failed already
			return nil, err
		}
		return pipe, nil
	}
}

// SessionOptions say how a Session works; nil is all defaults.
type SessionOptions struct {
	Rounds int           // how often a server may ask for input before one answer (0: 10)
	Pause  time.Duration // before a listen that has ended begins again, doubled up to 30 s (0: 1 s)
	Logger *slog.Logger  // nil: nothing is logged
}

const maxPause = 30 * time.Second

func (o *SessionOptions) withDefaults() SessionOptions {
	if o == nil {
		o = &SessionOptions{}
	}
	c := *o
	c.Rounds = orElse(c.Rounds, 10)
	c.Pause = orElse(c.Pause, time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Sessions is a wire.Backend that opens a Session for each legacy client of a modern server. It serves nothing else.
type Sessions struct {
	request Request
	opts    SessionOptions
}

// NewSessions makes a Sessions that asks the server by request.
func NewSessions(request Request, opts *SessionOptions) *Sessions {
	return &Sessions{request: request, opts: opts.withDefaults()}
}

// Shared is nil: modern requests need no translation.
func (s *Sessions) Shared() wire.Pipe { return nil }

// Open starts a Session. It asks the server nothing yet.
func (s *Sessions) Open(context.Context) (wire.Pipe, error) {
	return newSession(s.request, s.opts), nil
}

// Session is the conversation of one legacy client with a server that speaks the modern protocol alone: a wire.Pipe, and the client is at this end of it.
type Session struct {
	ask  Request
	opts SessionOptions
	q    *queue

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu           sync.Mutex
	initialized  bool // the server has answered
	client       json.RawMessage
	capabilities json.RawMessage // the client's, as modern servers read them
	can          abilities
	server       object // the capabilities of the server
	level        string
	pending      map[string]context.CancelFunc // requests of the client, by their id
	asked        map[string]chan object        // requests to the client, by theirs
	listens      map[string]context.CancelFunc // by the subscribed URI; "" is the lists
	next         uint64
}

// NewSession makes a Session that asks the server by request. It begins with the client's initialize.
func NewSession(request Request, opts *SessionOptions) *Session {
	return newSession(request, opts.withDefaults())
}

func newSession(request Request, opts SessionOptions) *Session {
	s := &Session{
		ask: request, opts: opts, q: newQueue(), pending: map[string]context.CancelFunc{}, asked: map[string]chan object{},
		listens: map[string]context.CancelFunc{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Read waits for what the server has for the client. io.EOF does not come: the session of a stateless server ends with its client.
func (s *Session) Read(ctx context.Context) (json.RawMessage, error) { return s.q.read(ctx) }

// Close ends the session, and cancels what the server still has to do for it. It does not wait.
func (s *Session) Close() error {
	s.cancel()
	s.q.end(io.ErrClosedPipe)
	return nil
}

// Write takes a message of the client.
func (s *Session) Write(_ context.Context, raw json.RawMessage) error {
	if s.ctx.Err() != nil {
		return io.ErrClosedPipe
	}
	m, err := wire.Scan(raw)
	switch {
	case err != nil:
		return &wire.Error{Code: -32700, Message: err.Error()}
	case m.Response():
		s.replied(m)
	case m.Request():
		s.requested(m)
	case m.Method == methodCancelled:
		s.mu.Lock()
		cancel := s.pending[string(m.At(wire.PlaceCancelled))]
		s.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	case m.Method == methodInitialized:
		s.listenLists()
	}
	return nil
}

func (s *Session) requested(m wire.Message) {
	s.mu.Lock()
	ready := s.initialized
	s.mu.Unlock()
	switch {
	case m.Method == methodPing:
		s.done(m)
	case m.Method == methodInitialize && ready:
		s.refuse(m, codeInvalid, "initialize was said already")
	case m.Method == methodInitialize:
		s.spawn(m, s.initialize)
	case !ready:
		s.refuse(m, codeInvalid, m.Method+" came before initialize")
	case m.Method == methodLevel:
		s.setLevel(m)
	case m.Method == methodSubscribe:
		s.subscribe(m)
	case m.Method == methodUnsubscribe:
		s.unsubscribe(m)
	case m.Method == methodDiscover || m.Method == methodListen:
		s.refuse(m, codeNoMethod, m.Method+" is not of the legacy protocol")
	default:
		s.spawn(m, s.relay)
	}
}

// spawn serves a request of the client until it is answered, or cancelled.
func (s *Session) spawn(m wire.Message, serve func(context.Context, wire.Message)) {
	ctx, cancel := context.WithCancel(s.ctx)
	id := string(m.ID())
	s.mu.Lock()
	twice := s.pending[id] != nil
	if !twice {
		s.pending[id] = cancel
	}
	s.mu.Unlock()
	if twice {
		cancel()
		s.refuse(m, codeInvalid, "a request with this id is in flight")
		return
	}
	go func() { // ends with its answer, at the latest with the Session
		defer func() {
			s.mu.Lock()
			delete(s.pending, id)
			s.mu.Unlock()
			cancel()
		}()
		serve(ctx, m)
	}()
}

func (s *Session) done(m wire.Message) { s.q.put(response(m.ID(), json.RawMessage("{}"))) }

func (s *Session) refuse(m wire.Message, code int, message string) {
	s.q.put(refusal(m.ID(), code, message))
}

// initialize is answered with what the server says to server/discover.
func (s *Session) initialize(ctx context.Context, m wire.Message) {
	params := parse(parse(m.Raw).get("params"))
	capabilities := parse(params.get("capabilities")).without("tasks") // which are another thing now
	if roots := parse(capabilities.get("roots")); roots != nil {
		capabilities = capabilities.set("roots", roots.without("listChanged").raw())
	}
	s.mu.Lock()
	s.client, s.capabilities = params.get("clientInfo"), capabilities.raw()
	s.can = readAbilities(s.capabilities)
	s.mu.Unlock()
	answer, err := s.exchange(ctx, s.modernRequest(object{}.set("jsonrpc", json.RawMessage(`"2.0"`)).set("id", m.ID()).
		set("method", quote(methodDiscover)), nil))
	if err != nil {
		s.fail(ctx, m, err)
		return
	}
	result := parse(answer.get("result"))
	if result == nil {
		s.q.put(answer.set("id", m.ID()).raw())
		return
	}
	var versions []string
	_ = json.Unmarshal(result.get("supportedVersions"), &versions) // none will do
	if !slices.Contains(versions, ModernVersion) {
		s.refuse(m, codeVersion, fmt.Sprintf("the server speaks %v, and none of it is known here", versions))
		return
	}
	version := params.text("protocolVersion")
	if !slices.Contains(legacyVersions, version) {
		version = LegacyVersion
	}
	meta := parse(result.get("_meta"))
	out := result.without("resultType", "supportedVersions", "ttlMs", "cacheScope", "_meta").set("protocolVersion", quote(version)).
		lacking("capabilities", json.RawMessage("{}")).set("serverInfo", orServer(meta.get(metaServer)))
	if rest := meta.without(metaServer); len(rest) > 0 {
		out = out.set("_meta", rest.raw())
	}
	s.mu.Lock()
	s.server, s.initialized = parse(result.get("capabilities")), true
	s.mu.Unlock()
	s.q.put(response(m.ID(), out.raw()))
}

// orServer is who the server is: a legacy client must be told something.
func orServer(info json.RawMessage) json.RawMessage {
	if isObject(info) {
		return info
	}
	return json.RawMessage(`{"name":"unknown","version":"unknown"}`)
}

// setLevel keeps the level for the requests to come.
func (s *Session) setLevel(m wire.Message) {
	wanted := parse(parse(m.Raw).get("params")).text("level")
	s.mu.Lock()
	logs := s.server.get("logging") != nil
	if logs && level(wanted) >= 0 {
		s.level = wanted
	}
	s.mu.Unlock()
	switch {
	case !logs:
		s.refuse(m, codeNoMethod, "the server does not log")
	case level(wanted) < 0:
		s.refuse(m, codeParams, "no such level: "+strconv.Quote(wanted))
	default:
		s.done(m)
	}
}

// id makes an id of the Session's own.
func (s *Session) id() json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return quote("toolbus-" + strconv.FormatUint(s.next, 10))
}
