package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// oldSession is one client's session with a server of 2024-11-05: a stream, whose first event says where to post. When the stream ends, so does the
// session. It is a wire.Pipe.
type oldSession struct {
	inbox
	h     *HTTP
	ended func()
	once  sync.Once
	begun sync.Once
	ready chan struct{} // closed: target is set, or it has ended

	target string
}

func newOldSession(h *HTTP, ended func()) *oldSession {
	return &oldSession{inbox: newInbox(h.ctx), h: h, ended: ended, ready: make(chan struct{})}
}

// begin opens the stream, once.
func (s *oldSession) begin() {
	s.begun.Do(func() {
		if !s.h.spawn(func() {
			err := s.stream()
			if err == nil {
				err = errSessionEnded
			}
			s.cancel(err)
			s.done()
		}) {
			s.cancel(io.ErrClosedPipe)
		}
	})
}

// stream reads the stream to its end.
func (s *oldSession) stream() error {
	r, err := s.h.request(s.ctx, http.MethodGet, "", nil)
	if err != nil {
		return err
	}
	resp, err := s.h.do(r)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		_, refused := s.h.told(resp)
		return refused
	}
	defer resp.Body.Close()
	var bad error
	err = readEvents(resp.Body, s.h.opts.MaxMessage, func(e event) {
		switch e.name {
		case "endpoint":
			if s.target != "" {
				return
			}
			at, err := s.h.url.Parse(string(e.data))
			if err != nil || at.Scheme != s.h.url.Scheme || at.Host != s.h.url.Host { // else the headers, a token among them, would go anywhere
				bad = errors.New("the server wants its messages at another address: " + clean(string(e.data), 200))
				s.cancel(bad)
				return
			}
			at.Fragment = ""
			s.target = (&url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path, RawPath: at.RawPath, RawQuery: at.RawQuery, User: s.h.url.User}).String()
			close(s.ready)
		case "", "message":
			split(e.data, s.put)
		}
	})
	if bad != nil {
		return bad
	}
	return err
}

// Write posts one message.
func (s *oldSession) Write(ctx context.Context, raw json.RawMessage) error {
	s.begin()
	select {
	case <-s.ready:
	case <-s.ctx.Done():
		if remote, ok := errors.AsType[*RemoteError](s.end()); ok {
			return remote.answer()
		}
		return s.end()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.h.opts.Timeout):
		return failed(errors.New("the server has not said where it takes messages"))
	}
	if err := s.Err(); err != nil {
		return err
	}
	msg, err := wire.Scan(raw)
	if err != nil {
		return &wire.Error{Code: -32700, Message: err.Error()}
	}
	bounded, cancel := context.WithTimeoutCause(ctx, noticePatience, errors.New("the server does not take a message"))
	defer cancel()
	r, err := s.h.request(bounded, http.MethodPost, s.target, msg.Raw)
	if err != nil {
		return err
	}
	resp, err := s.h.do(r)
	if err == nil && resp.StatusCode/100 == 2 {
		resp.Body.Close()
		return nil
	}
	if err == nil {
		answer, refused := s.h.told(resp)
		if answer != nil && msg.Request() && answers(answer, msg.ID()) {
			s.put(answer)
			return nil
		}
		err = refused
	}
	if !msg.Request() {
		s.h.opts.Logger.Info("the server did not take a message", "method", msg.Method, "err", err)
		return nil
	}
	s.h.noticed(err)
	return failed(err)
}

func (s *oldSession) done() {
	s.once.Do(func() {
		s.h.forget(s)
		s.ended()
	})
}

// Close ends the session by ending the stream.
func (s *oldSession) Close() error {
	s.cancel(nil)
	s.done()
	return nil
}
