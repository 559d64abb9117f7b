package wire

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus"
)

// ServeOptions describe one instance: one hosted server under one name.
type ServeOptions struct {
	Scope    string      // only for the function Serve; a Server has its own
	Name     string      // required
	Instance string      // required: the id that the registry knows it by, one token
	Lease    string      // the lease that it lives by; callers are told, so that its end ends their calls
	Token    string      // the fencing token: a call that carries another one is refused. "": none is checked
	Groups   []string    // the groups to answer for; Join and Leave change them
	Valid    func() bool // asked each time a request leaves the queue; nil: always valid

	MaxInFlight int           // requests without a session that the backend has at once (0: 256)
	MaxQueue    int           // requests that wait for their turn; beyond, the answer is busy (0: 8192)
	MaxSessions int           // legacy sessions at once; beyond, the answer is busy (0: 1024)
	OpenTimeout time.Duration // how long Backend.Open may take (0: 1 minute)
	Logger      *slog.Logger  // nil: the Server's
}

// Stateless is a Backend that gives each request without a session a conversation of its own, instead of the shared one. All that is
// said in it belongs to that request, so nothing needs to be rewritten or guessed.
type Stateless interface {
	Backend
	// Single opens a conversation for one request. The wire closes it after the answer.
	Single(ctx context.Context) (Pipe, error)
}

// Serving is one instance that answers on the bus. It goes on until Close or Drain; when its owner is not valid it answers that.
type Serving struct {
	server  *Server
	private bool // the Server was made for this one
	opts    ServeOptions
	backend Backend
	log     *slog.Logger
	limit   int

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	taps atomic.Pointer[[]*tap] // written under mu

	mu       sync.Mutex
	subs     []*nats.Subscription
	groups   map[string][]*nats.Subscription // of one member, and of all
	calls    map[string]*call                // by reply subject, from arrival to answer
	queue    []*call
	inFlight int
	sessions map[string]*session
	opening  int
	shared   *conversation
	answered retained // what was answered lately
	parts    map[string]*incoming
	held     int // bytes in parts
	closing  bool
	idle     chan struct{} // closed when closing and no call is left
	done     chan struct{}
}

// Serve serves one name over conn. The context covers the start only. Errors: a bad name, group or instance; what NATS says.
// The instance answers when Serve has returned. Many names on one connection share more through a Server.
func Serve(ctx context.Context, conn *bus.Conn, opts ServeOptions, backend Backend) (*Serving, error) {
	server, err := NewServer(conn, &ServerOptions{Scope: opts.Scope, Logger: opts.Logger})
	if err != nil {
		return nil, err
	}
	s, err := server.Serve(ctx, opts, backend)
	if err != nil {
		_ = server.Close()
		return nil, err
	}
	s.private = true
	return s, nil
}

// Serve starts to serve one name. See the function Serve.
func (s *Server) Serve(ctx context.Context, opts ServeOptions, backend Backend) (*Serving, error) {
	if !ValidName(opts.Name) {
		return nil, fmt.Errorf("wire: bad name %q", opts.Name)
	}
	if !validID(opts.Instance) {
		return nil, fmt.Errorf("wire: bad instance %q", opts.Instance)
	}
	opts.MaxInFlight = positive(opts.MaxInFlight, 256)
	opts.MaxQueue = positive(opts.MaxQueue, 8192)
	opts.MaxSessions = positive(opts.MaxSessions, 1024)
	if opts.OpenTimeout <= 0 {
		opts.OpenTimeout = time.Minute
	}
	v := &Serving{
		server: s, opts: opts, backend: backend, log: opts.Logger, limit: s.limit,
		groups: map[string][]*nats.Subscription{}, calls: map[string]*call{}, sessions: map[string]*session{}, parts: map[string]*incoming{},
		idle: make(chan struct{}), done: make(chan struct{}),
	}
	if v.log == nil {
		v.log = s.log
	}
	v.log = v.log.With("name", opts.Name, "instance", opts.Instance)
	v.ctx, v.cancel = context.WithCancel(s.ctx)
	s.mu.Lock()
	s.live[v] = struct{}{}
	s.mu.Unlock()
	err := v.listen(ctx)
	if err != nil {
		_ = v.Close()
		return nil, err
	}
	return v, nil
}

func (s *Serving) listen(ctx context.Context) error {
	for _, at := range [][2]string{
		{instanceSubject(s.server.scope, s.opts.Instance), ""},
		{listenSubject(s.server.scope, ByName, s.opts.Name), QueueGroup(s.opts.Name)},
	} {
		sub, err := s.server.subscribe(s, at[0], at[1])
		if err != nil {
			return fmt.Errorf("wire: listening for %s: %w", s.opts.Name, err)
		}
		s.subs = append(s.subs, sub)
	}
	for _, group := range s.opts.Groups {
		if err := s.Join(group); err != nil {
			return err
		}
	}
	return flush(ctx, s.server.nc)
}

// flush waits until the server knows the subscriptions.
func flush(ctx context.Context, nc *nats.Conn) error {
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		ctx = bounded
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	return nil
}

// Join starts to answer for group as well. Joining again is fine.
func (s *Serving) Join(group string) error {
	if !ValidName(group) {
		return fmt.Errorf("wire: bad group %q", group)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return ErrClosed
	}
	if s.groups[group] != nil {
		return nil
	}
	sub, err := s.server.subscribe(s, listenSubject(s.server.scope, ByGroup, group), QueueGroup(group))
	if err != nil {
		return fmt.Errorf("wire: listening for group %s: %w", group, err)
	}
	all, err := s.server.subscribe(s, listenSubject(s.server.scope, ToAll, group), "")
	if err != nil {
		s.server.unsubscribe(sub)
		return fmt.Errorf("wire: listening for group %s: %w", group, err)
	}
	s.groups[group] = []*nats.Subscription{sub, all}
	return nil
}

// Leave stops to answer for group. Calls that came through it go on.
func (s *Serving) Leave(group string) {
	s.mu.Lock()
	subs := s.groups[group]
	delete(s.groups, group)
	s.mu.Unlock()
	for _, sub := range subs {
		s.server.unsubscribe(sub)
	}
}

// Instance is the id that the instance answers by.
func (s *Serving) Instance() string { return s.opts.Instance }

// Done is closed when the serving has ended.
func (s *Serving) Done() <-chan struct{} { return s.done }

// Drain takes no more requests, waits for those that are in flight until ctx ends, and closes. Sessions end when nothing is in flight.
func (s *Serving) Drain(ctx context.Context) error {
	if s.stop() {
		select {
		case <-s.idle:
		case <-ctx.Done():
		}
	}
	_ = s.Close()
	return ctx.Err()
}

// stop takes no more requests. It is false if somebody stopped before.
func (s *Serving) stop() bool {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return false
	}
	s.closing = true
	subs := s.subs
	for _, group := range s.groups {
		subs = append(subs, group...)
	}
	if len(s.calls) == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	for _, sub := range subs[min(1, len(subs)):] { // the instance's own stays, for what belongs to calls and sessions
		s.server.unsubscribe(sub)
	}
	return true
}

// Close ends the serving at once: each call in flight is told, each session too. It waits for the goroutines of the serving.
func (s *Serving) Close() error {
	s.stop()
	s.mu.Lock()
	var calls []*call
	for _, c := range s.calls {
		calls = append(calls, c)
	}
	var sessions []*session
	for _, session := range s.sessions {
		sessions = append(sessions, session)
	}
	shared := s.shared
	s.queue = nil
	for _, in := range s.parts {
		in.timer.Stop()
	}
	s.mu.Unlock()
	for _, session := range sessions {
		session.end(ErrClosed, true)
	}
	if shared != nil {
		shared.close(ErrClosed)
	}
	for _, c := range calls {
		if v := c.conv.Load(); v == nil || v.forget(c) {
			c.fail(s.endError(ErrClosed, ""))
		}
	}
	s.mu.Lock()
	s.cancel() // under the lock: see spawn
	s.mu.Unlock()
	s.work.Wait()
	if len(s.subs) > 0 {
		s.server.unsubscribe(s.subs[0])
	}
	s.server.mu.Lock()
	_, first := s.server.live[s]
	delete(s.server.live, s)
	s.server.mu.Unlock()
	if first {
		close(s.done)
		if s.private {
			_ = s.server.Close()
		}
	}
	return nil
}

func (s *Serving) facts() Facts {
	return Facts{Name: s.opts.Name, Instance: s.opts.Instance, Lease: s.opts.Lease}
}

// invalid says why a request must not be served now, nil if it may.
func (s *Serving) invalid() *Error {
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return fail(CodeNotValid, s.opts.Name+": the instance is closing", s.facts())
	}
	if s.opts.Valid == nil || s.opts.Valid() {
		return nil
	}
	facts := s.facts()
	facts.Why = "the owner's lease is not certain at this moment"
	return fail(CodeNotValid, s.opts.Name+": not valid now", facts)
}

// spawn runs f on a goroutine that Close waits for. It is false once Close has begun to wait.
func (s *Serving) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.work.Go(f)
	return true
}

// done takes a call out and lets the next one go.
func (s *Serving) finished(c *call) {
	s.mu.Lock()
	if s.calls[c.reply] == c {
		delete(s.calls, c.reply)
		if c.slot {
			s.inFlight--
		}
		if c.of != nil && c.of.detached {
			c.of.keep(&c.stream)
		} else if !c.bare {
			s.answered.add(&c.stream, time.Now())
		}
		if s.closing && len(s.calls) == 0 {
			select {
			case <-s.idle:
			default:
				close(s.idle)
			}
		}
	}
	s.mu.Unlock()
	s.pump()
}

func positive(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}
