package era

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/toolbus/toolbus/servers/wire"
)

// What a legacy client is told by itself a modern one has to listen for: a Session has one listen for the lists of its server, and one for each resource
// that its client has subscribed to.

// listenLists begins to listen for what the server says that it tells of.
func (s *Session) listenLists() {
	filter := object{}
	var told []string
	s.mu.Lock()
	for _, k := range filters {
		if string(parse(s.server.get(k.capability)).get("listChanged")) == "true" {
			filter = filter.set(k.member, json.RawMessage("true"))
			told = append(told, k.method)
		}
	}
	s.mu.Unlock()
	if len(filter) == 0 {
		return
	}
	ctx, first := s.hold("")
	if !first {
		return
	}
	go s.keep(ctx, filter, nil, func() { // what was missed: the client looks again
		for _, method := range told {
			s.q.put(json.RawMessage(`{"jsonrpc":"2.0","method":"` + method + `"}`))
		}
	})
}

// hold makes the context of a listen; false if there is one already.
func (s *Session) hold(key string) (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listens[key] != nil {
		return nil, false
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.listens[key] = cancel
	return ctx, true
}

// drop ends a listen. False: there is none.
func (s *Session) drop(key string) bool {
	s.mu.Lock()
	cancel := s.listens[key]
	delete(s.listens, key)
	s.mu.Unlock()
	if cancel == nil {
		return false
	}
	cancel()
	return true
}

// subscribe listens for a resource, and answers when the server has acknowledged it.
func (s *Session) subscribe(m wire.Message) {
	uri := parse(parse(m.Raw).get("params")).text("uri")
	s.mu.Lock()
	able := string(parse(s.server.get("resources")).get("subscribe")) == "true"
	s.mu.Unlock()
	switch {
	case !able:
		s.refuse(m, codeNoMethod, "the server takes no subscriptions")
		return
	case uri == "":
		s.refuse(m, codeParams, "resources/subscribe needs a uri")
		return
	}
	ctx, first := s.hold(uri)
	if !first {
		s.done(m)
		return
	}
	uris, _ := json.Marshal([]string{uri}) // a string always can
	go s.keep(ctx, object{}.set("resourceSubscriptions", uris), func(agreed object, err error) {
		switch {
		case err != nil:
			s.drop(uri)
			s.fail(s.ctx, m, err)
		case len(items(agreed.get("resourceSubscriptions"))) == 0:
			s.drop(uri)
			s.refuse(m, codeParams, "the server does not tell of "+uri)
		default:
			s.done(m)
		}
	}, func() {
		s.q.put(notification(methodUpdated, object{}.set("uri", quote(uri)).raw()))
	})
}

func (s *Session) unsubscribe(m wire.Message) {
	s.drop(parse(parse(m.Raw).get("params")).text("uri"))
	s.done(m)
}

// keep listens until ctx ends, again and again: the stream of a stateless server ends with the instance that has it. acknowledged, if not nil, is called once;
// missed after each gap.
func (s *Session) keep(ctx context.Context, filter object, acknowledged func(agreed object, err error), missed func()) {
	pause, gap := s.opts.Pause, false
	for {
		began, err := s.listen(ctx, filter, func(agreed object) {
			pause = s.opts.Pause
			if acknowledged != nil {
				acknowledged(agreed, nil)
				acknowledged = nil
			}
			if gap {
				missed()
			}
		})
		if ctx.Err() != nil {
			return
		}
		if acknowledged != nil {
			acknowledged(nil, err)
			return
		}
		if refused, ok := errors.AsType[*wire.Error](err); ok && !refused.Known() && !began {
			s.opts.Logger.Info("the server does not let itself be listened to", "err", err)
			return
		}
		if errors.Is(err, errNothingAgreed) || !sleep(ctx, pause) {
			return
		}
		pause, gap = min(2*pause, maxPause), true
	}
}

var (
	errNothingAgreed = errors.New("era: the server tells of nothing that was asked for")
	errListenEnded   = errors.New("era: the server has ended a listen")
)

// listen makes one subscriptions/listen and passes on what it tells, until it ends. began says that it was acknowledged.
func (s *Session) listen(ctx context.Context, filter object, acknowledged func(agreed object)) (began bool, err error) {
	top := object{}.set("jsonrpc", json.RawMessage(`"2.0"`)).set("id", s.id()).set("method", quote(methodListen))
	stream, err := s.ask(ctx, s.modernRequest(top, object{}.set("notifications", filter.raw())))
	if err != nil {
		return false, err
	}
	defer stream.Close()
	for {
		raw, err := stream.Read(ctx)
		if err != nil {
			return began, err
		}
		m, err := wire.Scan(raw)
		if err != nil {
			continue
		}
		message := parse(raw)
		params := parse(message.get("params"))
		switch {
		case m.Response():
			if failure := message.get("error"); failure != nil {
				refused := &wire.Error{Code: codeInternal, Message: "subscriptions/listen was refused"}
				_ = json.Unmarshal(failure, refused) // what it does not say stays
				return began, refused
			}
			return began, errListenEnded
		case m.Method == methodAcknowledged:
			began = true
			agreed := parse(params.get("notifications"))
			acknowledged(agreed)
			if len(agreed) == 0 {
				return began, errNothingAgreed
			}
		case m.Notification() && began:
			if meta := parse(params.get("_meta")).without(metaSubscription); len(meta) > 0 {
				params = params.set("_meta", meta.raw())
			} else {
				params = params.without("_meta")
			}
			if len(params) > 0 {
				message = message.set("params", params.raw())
			} else {
				message = message.without("params")
			}
			s.q.put(message.raw())
		}
	}
}
