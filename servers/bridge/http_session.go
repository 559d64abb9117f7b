package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

const (
	byePatience    = 5 * time.Second  // for the server to hear that a session has ended
	againFirst     = time.Second      // before a stream is opened again, where the server has not said
	againMost      = 30 * time.Second // the longest such pause
	resumeTries    = 5                // to get the rest of an answer whose stream broke
	sentPatience   = 10 * time.Second // for a request to be on its way before the next message
	noticePatience = 30 * time.Second // for the server to take a notification
)

// errSessionEnded: the server does not know the session any more.
var errSessionEnded = errors.New("bridge: the server has ended the session")

// httpSession is one legacy client's session with a server of 2025-03-26 or newer: a wire.Pipe.
type httpSession struct {
	inbox
	h     *HTTP
	ended func()
	once  sync.Once

	mu      sync.Mutex
	id      string // Mcp-Session-Id, "": the server has none
	version string // as negotiated
	calls   map[string]context.CancelFunc
	no      *RemoteError // the last time that HTTP refused, or failed
}

// refused is the last failure of HTTP, as an error.
func (s *httpSession) refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.no == nil {
		return nil
	}
	return s.no
}

func newHTTPSession(h *HTTP, ended func()) *httpSession {
	return &httpSession{inbox: newInbox(h.ctx), h: h, ended: ended, calls: map[string]context.CancelFunc{}}
}

// Write sends one message. For a request it returns when that is on its way, for anything else when the server has it.
func (s *httpSession) Write(ctx context.Context, raw json.RawMessage) error {
	if err := s.Err(); err != nil {
		return err
	}
	msg, err := wire.Scan(raw)
	if err != nil {
		return &wire.Error{Code: -32700, Message: err.Error()}
	}
	if !msg.Request() {
		return s.tell(ctx, msg)
	}
	sent := make(chan struct{})
	var once sync.Once
	onItsWay := func() { once.Do(func() { close(sent) }) }
	call, cancel := context.WithCancel(s.ctx)
	key := string(msg.ID())
	s.mu.Lock()
	s.calls[key] = cancel
	s.mu.Unlock()
	if !s.h.spawn(func() {
		defer onItsWay()
		defer func() {
			cancel()
			s.mu.Lock()
			delete(s.calls, key)
			s.mu.Unlock()
		}()
		s.call(httptrace.WithClientTrace(call, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { onItsWay() }}), msg)
	}) {
		cancel()
		return io.ErrClosedPipe
	}
	patience := time.NewTimer(sentPatience)
	defer patience.Stop()
	select {
	case <-sent:
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil
}

// request makes a request of HTTP with what the session adds.
func (s *httpSession) request(ctx context.Context, method string, body []byte) (*http.Request, error) {
	r, err := s.h.request(ctx, method, "", body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != "" {
		r.Header.Set(headerSession, s.id)
	}
	if s.version != "" {
		r.Header.Set(headerVersion, s.version)
	}
	return r, nil
}

// send posts a message and returns the head of a good answer. Another one is an error, or an answer of JSON-RPC.
func (s *httpSession) send(ctx context.Context, msg wire.Message) (*http.Response, json.RawMessage, error) {
	r, err := s.request(ctx, http.MethodPost, msg.Raw)
	if err != nil {
		return nil, nil, err
	}
	resp, err := s.h.do(r)
	if err != nil {
		remote, _ := errors.AsType[*RemoteError](err)
		s.mu.Lock()
		s.no = remote
		s.mu.Unlock()
		return nil, nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil, nil
	}
	answer, refused := s.h.told(resp)
	s.mu.Lock()
	s.no = refused
	s.mu.Unlock()
	if resp.StatusCode == http.StatusNotFound && r.Header.Get(headerSession) != "" {
		s.fail(errSessionEnded)
		return nil, nil, errSessionEnded
	}
	return nil, answer, refused
}

// tell sends what is no request.
func (s *httpSession) tell(ctx context.Context, msg wire.Message) error {
	ctx, cancel := context.WithTimeoutCause(ctx, noticePatience, errors.New("the server does not take a notification"))
	defer cancel()
	resp, _, err := s.send(ctx, msg)
	switch {
	case err == nil:
		resp.Body.Close()
	case errors.Is(err, errSessionEnded):
		return err
	default:
		s.h.opts.Logger.Info("the server did not take a message", "method", msg.Method, "err", err)
	}
	switch msg.Method {
	case "notifications/initialized":
		s.h.spawn(s.listen)
	case "notifications/cancelled":
		s.mu.Lock()
		stop := s.calls[string(msg.At(wire.PlaceCancelled))]
		s.mu.Unlock()
		if stop != nil {
			stop()
		}
	}
	return nil
}

// call makes a request and passes on what belongs to it, up to its answer.
func (s *httpSession) call(ctx context.Context, msg wire.Message) {
	id := append(json.RawMessage(nil), msg.ID()...)
	resp, answer, err := s.send(ctx, msg)
	switch {
	case answer != nil && answers(answer, id):
		s.put(answer)
		return
	case err != nil:
		s.lost(ctx, id, err)
		return
	}
	if msg.Method == "initialize" {
		s.mu.Lock()
		s.id = resp.Header.Get(headerSession)
		s.mu.Unlock()
	}
	last, pause, answered := "", againFirst, false
	seen := func(event, retry string) {
		if event != "" {
			last = event
		}
		pause = again(retry, pause)
	}
	put := func(raw json.RawMessage) {
		if answers(raw, id) {
			answered = true
			if msg.Method == "initialize" {
				s.learn(raw)
			}
		}
		s.put(raw)
	}
	err = s.h.body(resp, seen, put)
	for try := 0; !answered && last != "" && try < resumeTries && ctx.Err() == nil && !errors.Is(err, errEventTooLong); try++ {
		if !sleep(ctx, pause) {
			break
		}
		err = s.resume(ctx, last, seen, put)
		if refused, ok := errors.AsType[*RemoteError](err); ok && refused.Status != 0 {
			break
		}
	}
	if !answered {
		if err == nil {
			err = errors.New("the server ended the answer before it was there")
		}
		s.lost(ctx, id, err)
	}
}

// resume reads on behind an event.
func (s *httpSession) resume(ctx context.Context, last string, seen func(id, retry string), put func(json.RawMessage)) error {
	r, err := s.request(ctx, http.MethodGet, nil)
	if err != nil {
		return err
	}
	if last != "" {
		r.Header.Set(headerLast, last)
	}
	resp, err := s.h.do(r)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		_, refused := s.h.told(resp)
		if resp.StatusCode == http.StatusNotFound && r.Header.Get(headerSession) != "" {
			s.fail(errSessionEnded)
		}
		return refused
	}
	return s.h.body(resp, seen, put)
}

// listen keeps the stream of what the server says by itself, if it has one.
func (s *httpSession) listen() {
	last, pause := "", againFirst
	for wait := time.Duration(0); s.ctx.Err() == nil; {
		if !sleep(s.ctx, wait) {
			return
		}
		got := false
		err := s.resume(s.ctx, last, func(event, retry string) {
			got = true
			if event != "" {
				last = event
			}
			pause = again(retry, pause)
		}, s.put)
		if refused, ok := errors.AsType[*RemoteError](err); ok && refused.Status != 0 && refused.Status < 500 {
			s.h.opts.Logger.Debug("the server has no stream of its own", "status", refused.Status)
			return
		}
		if wait = max(pause, min(2*wait, againMost)); got || err == nil {
			wait = pause
		}
	}
}

// again is how long to wait before a stream is opened again, as the server has said.
func again(retry string, before time.Duration) time.Duration {
	if ms, err := strconv.Atoi(retry); err == nil && ms >= 0 {
		return min(time.Duration(ms)*time.Millisecond, againMost)
	}
	return before
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// answers tells whether a message is the answer to the request with an id.
func answers(raw, id json.RawMessage) bool {
	m, err := wire.Scan(raw)
	return err == nil && m.Response() && string(m.ID()) == string(id)
}

// learn reads which version was agreed upon.
func (s *httpSession) learn(raw json.RawMessage) {
	var m struct {
		Result struct {
			ProtocolVersion string `json:"protocolVersion"`
		} `json:"result"`
	}
	if json.Unmarshal(raw, &m) == nil {
		s.mu.Lock()
		s.version = m.Result.ProtocolVersion
		s.mu.Unlock()
	}
}

// lost answers a request whose answer does not come. One that was cancelled has none.
func (s *httpSession) lost(ctx context.Context, id json.RawMessage, err error) {
	if ctx.Err() != nil || errors.Is(err, errSessionEnded) {
		return
	}
	s.h.noticed(err)
	s.put(failed(err).Response(id))
}

// fail ends the session for a reason.
func (s *httpSession) fail(why error) {
	s.cancel(fmt.Errorf("%w", why))
	s.done()
}

func (s *httpSession) done() {
	s.once.Do(func() {
		s.h.forget(s)
		s.ended()
	})
}

// Close ends the session, and tells the server.
func (s *httpSession) Close() error {
	open := s.ctx.Err() == nil
	s.mu.Lock()
	id := s.id
	s.mu.Unlock()
	if open && id != "" {
		s.h.spawn(func() {
			ctx, cancel := context.WithTimeout(context.Background(), byePatience)
			defer cancel()
			if r, err := s.request(ctx, http.MethodDelete, nil); err == nil {
				if resp, err := s.h.do(r); err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	s.cancel(nil)
	s.done()
	return nil
}
