package aggregate

import (
	"encoding/json"

	"github.com/toolbus/toolbus/servers/wire"
)

// said carries what a server says to the client.
func (l *link) said(m wire.Message) {
	switch {
	case m.Response():
		l.response(m)
	case m.Request():
		l.asks(m)
	default:
		l.tells(m)
	}
}

func (l *link) response(m wire.Message) {
	c := l.c
	c.mu.Lock()
	if e, ok := c.own[string(m.ID())]; ok && e.link == l {
		delete(c.own, string(m.ID()))
		c.mu.Unlock()
		e.answer(m.Raw)
		return
	}
	r := c.pending[string(m.ID())]
	if r == nil || r.link != l {
		c.mu.Unlock()
		return // cancelled
	}
	delete(c.pending, string(m.ID()))
	c.mu.Unlock()
	switch r.method {
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		if l.resource(r, m) {
			return
		}
	}
	raw := m.Raw
	switch r.method {
	case "tools/call", "prompts/get", "resources/read":
		if other := c.e.table().renamed[l.server]; other != nil {
			raw = renameURIs(raw, other)
		}
	}
	c.say(raw)
}

// resource notes what an answer says about a URI. True: the next server is asked.
func (l *link) resource(r *request, m wire.Message) bool {
	c := l.c
	_, err := resultOf(m.Raw)
	if err != nil {
		if len(r.rest) == 0 {
			return false
		}
		c.mu.Lock()
		c.pending[string(r.id)] = r
		c.mu.Unlock()
		c.nextSource(r)
		return true
	}
	if r.raw != nil {
		c.e.learn(r.uri, l.server)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch have := c.subscribed[l.server]; {
	case r.method == "resources/unsubscribe":
		delete(have, r.uri)
	case r.method == "resources/subscribe" && have == nil:
		c.subscribed[l.server] = map[string]bool{r.uri: true}
	case r.method == "resources/subscribe":
		have[r.uri] = true
	}
	return false
}

// asks passes a server's request on, under an id and a progress token that no other server uses.
func (l *link) asks(m wire.Message) {
	c := l.c
	if !c.legacy {
		l.put(wire.Unattended(m))
		return
	}
	c.mu.Lock()
	id := c.id()
	edits := map[wire.Place]json.RawMessage{wire.PlaceID: id}
	q := question{link: l, was: append(json.RawMessage(nil), m.ID()...)}
	if token := m.At(wire.PlaceToken); token != nil {
		with := c.id()
		edits[wire.PlaceToken] = with
		q.with = string(with)
		c.tokens[q.with] = question{link: l, was: append(json.RawMessage(nil), token...)}
	}
	c.asked[string(id)] = q
	c.mu.Unlock()
	c.say(m.With(edits))
}

// tells passes a notification on.
func (l *link) tells(m wire.Message) {
	c := l.c
	if which := changedBy(m.Method); which != 0 { // told when the endpoint has the new list
		c.e.touchName(l.server, which)
		return
	}
	edits := map[wire.Place]json.RawMessage{}
	if at := m.At(wire.PlaceSubscription); at != nil {
		c.mu.Lock()
		e, ok := c.own[string(at)]
		c.mu.Unlock()
		if ok && e.listen != nil {
			if m.Method == "notifications/subscriptions/acknowledged" {
				return // the client has had the endpoint's own
			}
			edits[wire.PlaceSubscription] = e.listen.id
		}
	}
	switch m.Method {
	case "notifications/cancelled":
		id := l.ours(m.At(wire.PlaceCancelled))
		if id == nil {
			return
		}
		edits[wire.PlaceCancelled] = id
	case "notifications/resources/updated":
		if uri, _, ok := text(m.Raw, "params", "uri"); ok {
			if shown := c.e.table().shown(l.server, uri); shown != uri {
				edits[wire.PlaceURI] = quote(shown)
			}
		}
	}
	if len(edits) == 0 {
		c.say(m.Raw)
		return
	}
	c.say(m.With(edits))
}

// ours finds the id under which the client knows a question that the server takes back, which is then none any more.
func (l *link) ours(was json.RawMessage) json.RawMessage {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for id, q := range l.c.asked {
		if q.link == l && string(q.was) == string(was) {
			delete(l.c.asked, id)
			delete(l.c.tokens, q.with)
			return json.RawMessage(id)
		}
	}
	return nil
}
