package era

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// modernRequest is a legacy request with what a modern one has to say in its _meta. params nil: those that stand in it.
func (s *Session) modernRequest(top, params object) json.RawMessage {
	if params == nil {
		params = parse(top.get("params"))
	}
	s.mu.Lock()
	meta := parse(params.get("_meta")).set(metaVersion, quote(ModernVersion)).set(metaCapabilities, s.capabilities)
	if s.client != nil {
		meta = meta.set(metaClient, s.client)
	}
	if s.level != "" {
		meta = meta.set(metaLevel, quote(s.level))
	}
	s.mu.Unlock()
	return top.set("params", params.set("_meta", meta.raw()).raw()).raw()
}

// exchange makes one request. What belongs to it goes to the client, but for the response.
func (s *Session) exchange(ctx context.Context, msg json.RawMessage) (object, error) {
	stream, err := s.ask(ctx, msg)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for {
		raw, err := stream.Read(ctx)
		if err != nil {
			return nil, err
		}
		m, err := wire.Scan(raw)
		switch {
		case err != nil:
			s.opts.Logger.Warn("the server said what is no message", "err", err, "bytes", len(raw))
		case m.Response():
			return parse(raw), nil
		case m.Notification():
			s.q.put(raw)
		}
	}
}

// relay serves a request that both protocols know, or neither: with the rounds of questions that come before its answer.
func (s *Session) relay(ctx context.Context, m wire.Message) {
	top := parse(m.Raw)
	params := parse(top.get("params"))
	if params == nil {
		params = object{}
	}
	next := params
	for round := 0; ; round++ {
		answer, err := s.exchange(ctx, s.modernRequest(top, next))
		if err != nil {
			s.fail(ctx, m, err)
			return
		}
		result := parse(answer.get("result"))
		if result.text("resultType") != "input_required" {
			s.q.put(legacyResponse(m, answer))
			return
		}
		if round == s.opts.Rounds {
			s.refuse(m, codeInternal, fmt.Sprintf("the server asked for input %d times, and has not answered", round))
			return
		}
		asks := parse(result.get("inputRequests"))
		if len(asks) == 0 && !sleep(ctx, s.opts.Pause<<min(round, 4)/8) { // it is busy, and wants to be asked again
			return
		}
		answers, failure := s.fulfil(ctx, asks)
		if ctx.Err() != nil {
			return // cancelled: no answer
		}
		if failure != nil {
			s.q.put(object{}.set("jsonrpc", json.RawMessage(`"2.0"`)).set("id", m.ID()).set("error", failure).raw())
			return
		}
		next = params
		if len(answers) > 0 {
			next = next.set("inputResponses", answers.raw())
		}
		if state := result.get("requestState"); state != nil {
			next = next.set("requestState", state)
		}
		top = top.set("id", s.id())
	}
}

// fulfil asks the client all that the server wants to know, at once. failure is the error object of what it did not answer.
func (s *Session) fulfil(ctx context.Context, asks object) (answers object, failure json.RawMessage) {
	type waiting struct {
		name string
		id   json.RawMessage
		got  chan object
	}
	var all []waiting
	s.mu.Lock()
	can := s.can
	s.mu.Unlock()
	for _, q := range asks {
		ask := parse(q.value)
		method, params := ask.text("method"), ask.get("params")
		if !can.can(method, params) {
			failure, _ = json.Marshal(&wire.Error{Code: codeInternal, Message: "the server asked for " + strconv.Quote(method) + ", which this client cannot answer"})
			return nil, failure // a plain error always can
		}
	}
	for _, q := range asks {
		ask := parse(q.value)
		w := waiting{q.name, s.id(), make(chan object, 1)}
		s.mu.Lock()
		s.asked[string(w.id)] = w.got
		s.mu.Unlock()
		all = append(all, w)
		s.q.put(request(w.id, ask.text("method"), s.legacyParams(ask)))
	}
	answers = object{}
	for i, w := range all {
		var got object
		select {
		case got = <-w.got:
		case <-ctx.Done():
		}
		result := got.get("result")
		if result != nil {
			answers = answers.set(w.name, result)
			continue
		}
		for _, rest := range all[i:] {
			s.forget(rest.id, ctx.Err() != nil || got == nil || string(rest.id) != string(w.id))
		}
		return nil, orError(got.get("error"))
	}
	return answers, nil
}

// forget takes a request to the client out; tell says that the client still has it.
func (s *Session) forget(id json.RawMessage, tell bool) {
	s.mu.Lock()
	_, there := s.asked[string(id)]
	delete(s.asked, string(id))
	s.mu.Unlock()
	if there && tell {
		s.q.put(notification(methodCancelled, object{}.set("requestId", id).raw()))
	}
}

func orError(failure json.RawMessage) json.RawMessage {
	if isObject(failure) {
		return failure
	}
	return json.RawMessage(`{"code":` + strconv.Itoa(codeInternal) + `,"message":"the client did not answer what the server asked"}`)
}

// legacyParams are those of a question, with what only a legacy one has.
func (s *Session) legacyParams(ask object) json.RawMessage {
	raw := ask.get("params")
	params := parse(raw)
	if ask.text("method") == methodElicit && params.text("mode") == "url" {
		return params.lacking("elicitationId", s.id()).raw()
	}
	return raw
}

// replied takes the client's answer to a question.
func (s *Session) replied(m wire.Message) {
	s.mu.Lock()
	got := s.asked[string(m.ID())]
	delete(s.asked, string(m.ID()))
	s.mu.Unlock()
	if got != nil {
		got <- parse(m.Raw)
	}
}

// fail answers a request that did not reach the server, or whose answer did not come. One that the client has cancelled gets none.
func (s *Session) fail(ctx context.Context, m wire.Message, err error) {
	if ctx.Err() != nil {
		return
	}
	refused, ok := errors.AsType[*wire.Error](err)
	if !ok {
		refused = wire.NewError(wire.CodeBackend, "the server did not answer: "+err.Error(), wire.Facts{Why: err.Error()})
	}
	s.q.put(refused.Response(m.ID()))
}

// legacyResponse is a modern server's response as a legacy client reads it.
func legacyResponse(m wire.Message, answer object) json.RawMessage {
	answer = answer.set("id", m.ID())
	if failure := parse(answer.get("error")); failure != nil {
		if m.Method == "resources/read" && string(failure.get("code")) == strconv.Itoa(codeParams) && parse(failure.get("data")).get("uri") != nil {
			answer = answer.set("error", failure.set("code", json.RawMessage(strconv.Itoa(codeNoResource))).raw())
		}
		return answer.raw()
	}
	result := parse(answer.get("result"))
	if result == nil {
		return answer.raw()
	}
	if result.text("resultType") == "complete" {
		result = result.without("resultType")
	}
	if cacheable(m.Method) {
		result = result.without("ttlMs", "cacheScope")
	}
	switch m.Method {
	case "tools/call": // legacy: an object or nothing. The same stands in content, as text
		if structured := result.get("structuredContent"); structured != nil && !isObject(structured) {
			result = result.without("structuredContent")
		}
	case "tools/list":
		result = legacyTools(result)
	}
	return answer.set("result", result.raw()).raw()
}

// legacyTools takes out the output schemas that are not an object's, for the like reason.
func legacyTools(result object) object {
	tools := items(result.get("tools"))
	changed := false
	for i, raw := range tools {
		tool := parse(raw)
		schema := tool.get("outputSchema")
		if schema == nil || parse(schema).text("type") == "object" {
			continue
		}
		tools[i], changed = tool.without("outputSchema").raw(), true
	}
	if !changed {
		return result
	}
	list, err := json.Marshal(tools)
	if err != nil {
		return result
	}
	return result.set("tools", list)
}

// sleep is false where ctx ends first.
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
