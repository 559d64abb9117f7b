package aggregate

import (
	"encoding/json"
	"slices"

	"github.com/toolbus/toolbus/servers/wire"
)

// listen is a subscriptions/listen of the client's. Of lists the endpoint itself tells; resources are listened to at the servers that have them.
type listen struct {
	wants kindSet
	uris  map[string][]string        // by server, as that calls them
	subs  map[string]json.RawMessage // by server, our listening there: its id. The conversation's lock guards it
}

// listenTo is what a client wants to be told.
type listenTo struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

func (c *conversation) listen(m wire.Message) {
	var in struct {
		Params struct{ Notifications *listenTo }
	}
	if err := json.Unmarshal(m.Raw, &in); err != nil || in.Params.Notifications == nil {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidParams, Message: "missing required 'notifications' field"})
		return
	}
	want := in.Params.Notifications
	c.later(m, func(r *request) {
		l := &listen{uris: map[string][]string{}, subs: map[string]json.RawMessage{}}
		for k, wanted := range map[kind]bool{tools: want.Tools, prompts: want.Prompts, resources: want.Resources, templates: want.Resources} {
			if wanted {
				l.wants |= 1 << k
			}
		}
		want.URIs = slices.DeleteFunc(want.URIs, func(uri string) bool { return !c.locate(l, uri) })
		honoured, _ := json.Marshal(want) // plain values
		meta := `"_meta":{"` + metaSubscription + `":` + string(r.id) + `}`
		c.say(json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":` + string(honoured) + `,` + meta + `}}`))
		if l.wants == 0 && len(l.uris) == 0 {
			if c.take(r.id) != nil {
				c.say(response(r.id, json.RawMessage(`{"resultType":"complete",`+meta+`}`)))
			}
			return
		}
		c.mu.Lock()
		ours := c.pending[string(r.id)] == r
		if ours {
			r.listen = l // from now on it is told, after the acknowledgement
		}
		c.mu.Unlock()
		if !ours { // cancelled
			return
		}
		for server := range l.uris {
			c.sub(r, server)
		}
	})
}

// locate notes where a resource is to be listened to: with its server, or, if nobody lists it, with all that have resources. False: nowhere.
func (c *conversation) locate(l *listen, uri string) bool {
	t := c.e.table()
	p, ok := t.resource(uri)
	if !ok {
		p, ok = c.e.recall(uri)
	}
	if ok {
		l.uris[p.server] = append(l.uris[p.server], p.key)
		return true
	}
	for _, server := range t.sources {
		l.uris[server] = append(l.uris[server], uri)
	}
	return len(t.sources) > 0
}

// sub listens at one server for a client's request, if nobody does yet.
func (c *conversation) sub(r *request, server string) {
	l := c.link(server)
	if l == nil {
		return
	}
	c.mu.Lock()
	_, has := r.listen.subs[server]
	gone := c.pending[string(r.id)] != r
	if !has && !gone {
		r.listen.subs[server] = json.RawMessage("null") // being made
	}
	c.mu.Unlock()
	if has || gone {
		return
	}
	uris, _ := json.Marshal(r.listen.uris[server])
	ended := func(json.RawMessage) { // the server may come back: see relisten
		c.mu.Lock()
		delete(r.listen.subs, server)
		c.mu.Unlock()
	}
	id := l.errand("subscriptions/listen", `{"notifications":{"resourceSubscriptions":`+string(uris)+`},`+modernMeta+`}`, r, ended)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, lives := c.own[string(id)]; !lives {
		return // it has ended already
	}
	r.listen.subs[server] = id
	if c.pending[string(r.id)] != r { // cancelled meanwhile
		c.unsub(l, r, server)
	}
}

// relisten listens again at a server that was away.
func (c *conversation) relisten(server string) {
	var lack []*request
	c.mu.Lock()
	for _, r := range c.pending {
		if r.listen != nil && r.listen.uris[server] != nil && r.listen.subs[server] == nil {
			lack = append(lack, r)
		}
	}
	c.mu.Unlock()
	for _, r := range lack {
		c.sub(r, server)
	}
}

// unlisten ends what was listened to for a request.
func (c *conversation) unlisten(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for server := range r.listen.subs {
		c.unsub(c.links[server], r, server)
	}
}

// unsub takes back one listening. c.mu is held.
func (c *conversation) unsub(l *link, r *request, server string) {
	id := r.listen.subs[server]
	delete(r.listen.subs, server)
	if _, ours := c.own[string(id)]; ours && l != nil {
		delete(c.own, string(id))
		l.put(json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + string(id) + `,"reason":"the client listens no more"}}`))
	}
}
