package aggregate

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// request answers a request of the client's, or finds out who does.
func (c *conversation) request(m wire.Message) {
	id := m.ID()
	if !c.legacy {
		if m.Version == "" { // typed by hand
			if full, err := wire.Scan(m.WithMeta(servers.ModernVersion)); err == nil {
				m = full
			}
		} else if m.Version != servers.ModernVersion {
			data, _ := json.Marshal(map[string]any{"supported": []string{servers.ModernVersion}, "requested": m.Version})
			c.refuse(id, &wire.Error{Code: codeVersion, Message: "unsupported protocol version", Data: data})
			return
		}
	}
	if k, ok := listOf(m.Method); ok {
		c.list(m, k)
		return
	}
	switch {
	case m.Method == "tools/call":
		c.named(m, tools)
	case m.Method == "prompts/get":
		c.named(m, prompts)
	case m.Method == "completion/complete":
		c.complete(m)
	case m.Method == "resources/read":
		c.resource(m)
	case c.legacy && (m.Method == "resources/subscribe" || m.Method == "resources/unsubscribe"):
		c.resource(m)
	case c.legacy && m.Method == "initialize":
		c.initialize(m)
	case c.legacy && m.Method == "ping":
		c.say(response(id, json.RawMessage(`{}`)))
	case c.legacy && m.Method == "logging/setLevel":
		c.setLevel(m)
	case !c.legacy && m.Method == "server/discover":
		c.say(response(id, discovered(c.e.instructions())))
	case !c.legacy && m.Method == "subscriptions/listen":
		c.listen(m)
	default:
		c.refuse(id, &wire.Error{Code: codeMethodNotFound, Message: "method not found: " + m.Method})
	}
}

func (c *conversation) initialize(m wire.Message) {
	asked, _, _ := text(m.Raw, "params", "protocolVersion")
	version := negotiated(asked)
	at, ok, err := find(m.Raw, "params")
	if err != nil || !ok || m.Raw[at.from] != '{' {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidParams, Message: "initialize without params"})
		return
	}
	params := slices.Clone(at.of(m.Raw))
	if asked != version {
		if _, where, ok := text(params, "protocolVersion"); ok {
			params = replace(params, where, quote(version))
		}
	}
	c.mu.Lock()
	again := c.params != nil
	if !again {
		c.params = params
	}
	c.mu.Unlock()
	if again {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidRequest, Message: "the session is initialized"})
		return
	}
	c.say(response(m.ID(), initialized(version, c.e.instructions())))
	c.mu.Lock()
	c.ready = true
	c.mu.Unlock()
}

// list answers from what the servers have said. It waits for those that have not yet, without keeping other requests from being answered.
func (c *conversation) list(m wire.Message, k kind) {
	cursor, _, ok := text(m.Raw, "params", "cursor")
	if _, there, err := find(m.Raw, "params", "cursor"); err != nil || there && !ok {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidParams, Message: "the cursor is no string"})
		return
	}
	c.later(m, func(r *request) {
		list, next, err := c.e.table().page(k, cursor, c.e.opts.PageSize)
		if c.take(r.id) == nil {
			return // cancelled
		}
		if err != nil {
			c.refuse(r.id, err)
			return
		}
		c.say(response(r.id, listed(k, list, next, !c.legacy)))
	})
}

// later runs f for a request once every server has had the time to answer.
func (c *conversation) later(m wire.Message, f func(*request)) {
	r := &request{id: m.ID(), method: m.Method}
	c.mu.Lock()
	c.pending[string(r.id)] = r
	c.mu.Unlock()
	c.spawn(func() {
		c.e.settled(c.ctx)
		f(r)
	})
}

// named passes a request on to the server whose tool or prompt it names.
func (c *conversation) named(m wire.Message, k kind) {
	name, err := m.Target()
	if err != nil {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidParams, Message: err.Error()})
		return
	}
	send := func(r *request, p place) {
		c.forward(r, p.server, m.With(map[wire.Place]json.RawMessage{wire.PlaceName: quote(p.key)}))
	}
	c.find(m, send, func() (place, bool) { return c.e.table().named(k, name) }, "there is no such "+what[k]+" here: "+name)
}

var what = [kinds]string{tools: "tool", prompts: "prompt", resources: "resource", templates: "resource"}

// find looks a request's place up and sends it there. What is not in the table may be a server's that has not answered yet.
func (c *conversation) find(m wire.Message, send func(*request, place), look func() (place, bool), missing string) {
	if p, ok := look(); ok {
		r := &request{id: m.ID(), method: m.Method}
		c.mu.Lock()
		c.pending[string(r.id)] = r
		c.mu.Unlock()
		send(r, p)
		return
	}
	c.later(m, func(r *request) {
		if p, ok := look(); ok {
			send(r, p)
		} else if c.take(r.id) != nil {
			c.refuse(r.id, &wire.Error{Code: codeInvalidParams, Message: missing})
		}
	})
}

// complete passes a completion on to the server whose prompt or template it is about.
func (c *conversation) complete(m wire.Message) {
	k, member := prompts, "name"
	name, at, ok := text(m.Raw, "params", "ref", member)
	if ref, _, _ := text(m.Raw, "params", "ref", "type"); ref == "ref/resource" {
		k, member = templates, "uri"
		name, at, ok = text(m.Raw, "params", "ref", member)
	}
	if !ok {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidParams, Message: "the reference names nothing"})
		return
	}
	look := func() (place, bool) {
		p, found := c.e.table().named(k, name)
		if !found && k == templates { // a resource that is none of a template
			p, found = c.e.table().resource(name)
		}
		return p, found
	}
	send := func(r *request, p place) { c.forward(r, p.server, replace(m.Raw, at, quote(p.key))) }
	c.find(m, send, look, "there is no such "+what[k]+" here: "+name)
}

// resource passes a request about a URI on to the server that has it. A URI that nobody lists is asked for at one after the other.
func (c *conversation) resource(m wire.Message) {
	uri, err := m.Target()
	if err != nil {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidParams, Message: err.Error()})
		return
	}
	look := func() (place, bool) {
		if m.Method == "resources/unsubscribe" {
			if p, ok := c.subscription(uri); ok {
				return p, true
			}
		}
		p, ok := c.e.table().resource(uri)
		if !ok {
			p, ok = c.e.recall(uri)
		}
		return p, ok
	}
	send := func(r *request, p place) {
		r.uri = p.key
		c.forward(r, p.server, m.With(map[wire.Place]json.RawMessage{wire.PlaceURI: quote(p.key)}))
	}
	if p, ok := look(); ok {
		c.find(m, send, func() (place, bool) { return p, true }, "")
		return
	}
	c.later(m, func(r *request) {
		if p, ok := look(); ok {
			send(r, p)
			return
		}
		r.uri, r.raw = uri, m.Raw
		for _, server := range c.e.table().sources {
			r.rest = append(r.rest, place{server, uri})
		}
		c.nextSource(r)
	})
}

// nextSource asks the next server for what nobody lists.
func (c *conversation) nextSource(r *request) {
	if len(r.rest) == 0 { // there is no server with resources
		if c.take(r.id) != nil {
			code := codeNoResource
			if !c.legacy {
				code = codeInvalidParams // the newer protocol gave up the code
			}
			data, _ := json.Marshal(map[string]string{"uri": r.uri})
			c.refuse(r.id, &wire.Error{Code: code, Message: "Resource not found", Data: data})
		}
		return
	}
	p := r.rest[0]
	r.rest = r.rest[1:]
	c.forward(r, p.server, slices.Clone(r.raw))
}

// subscription finds where the client has subscribed to a URI.
func (c *conversation) subscription(shown string) (place, bool) {
	t := c.e.table()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, server := range slices.Sorted(maps.Keys(c.subscribed)) {
		for uri := range c.subscribed[server] {
			if t.shown(server, uri) == shown {
				return place{server, uri}, true
			}
		}
	}
	return place{}, false
}

// setLevel notes the level of log messages and passes it on to the servers that the client has a session with; others are told when they get one.
func (c *conversation) setLevel(m wire.Message) {
	at, ok, err := find(m.Raw, "params")
	if err != nil || !ok {
		c.refuse(m.ID(), &wire.Error{Code: codeInvalidParams, Message: "no level"})
		return
	}
	c.mu.Lock()
	c.level = slices.Clone(at.of(m.Raw))
	links := slices.Collect(maps.Values(c.links))
	c.mu.Unlock()
	for _, l := range links {
		l.setLevel()
	}
	c.say(response(m.ID(), json.RawMessage(`{}`)))
}

// notified passes on what the client tells.
func (c *conversation) notified(m wire.Message) {
	switch m.Method {
	case "notifications/initialized": // each server is told when the client's session with it opens
	case "notifications/cancelled":
		c.cancelled(m)
	case "notifications/progress":
		c.mu.Lock()
		q, ok := c.tokens[string(m.At(wire.PlaceProgress))]
		c.mu.Unlock()
		if ok {
			q.link.put(m.With(map[wire.Place]json.RawMessage{wire.PlaceProgress: q.was}))
		}
	default:
		c.mu.Lock()
		links := slices.Collect(maps.Values(c.links))
		c.mu.Unlock()
		for _, l := range links {
			l.put(slices.Clone(m.Raw))
		}
	}
}

// cancelled ends a request of the client's.
func (c *conversation) cancelled(m wire.Message) {
	r := c.take(m.At(wire.PlaceCancelled))
	switch {
	case r == nil:
	case r.listen != nil:
		c.unlisten(r)
	case r.link != nil:
		r.link.put(m.Raw)
	}
}

// answered passes the client's answer on to the server that has asked.
func (c *conversation) answered(m wire.Message) {
	c.mu.Lock()
	q, ok := c.asked[string(m.ID())]
	delete(c.asked, string(m.ID()))
	delete(c.tokens, q.with)
	c.mu.Unlock()
	if ok {
		q.link.put(m.With(map[wire.Place]json.RawMessage{wire.PlaceID: q.was}))
	}
}
