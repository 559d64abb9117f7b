package era

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/toolbus/toolbus/servers/wire"
)

// listen is one subscriptions/listen. The Adapter's lock guards it.
type listen struct {
	a     *Adapter
	front *front
	link  *link // where its resources are subscribed
	pool  *pool // whose list_changed it hears

	lists   map[string]bool // the methods of notifications that it wants
	uris    map[string]bool
	waiting map[string]bool // list_changed that are about to be told
	ended   bool
}

// filters are the kinds of list_changed: the member of the filter, the capability that says that there are such notifications, and the notification.
var filters = []struct{ member, capability, method string }{
	{"toolsListChanged", "tools", "notifications/tools/list_changed"},
	{"promptsListChanged", "prompts", "notifications/prompts/list_changed"},
	{"resourcesListChanged", "resources", "notifications/resources/list_changed"},
}

// subscribe serves a subscriptions/listen.
func (f *front) subscribe(params, meta object) {
	wanted := parse(params.get("notifications"))
	if wanted == nil {
		f.answer(refusal(f.id, codeParams, "subscriptions/listen needs notifications"))
		return
	}
	a := f.a
	n := &listen{a: a, front: f, lists: map[string]bool{}, uris: map[string]bool{}, waiting: map[string]bool{}}
	agreed := object{}
	capabilities := parse(a.said.Load().capabilities)
	for _, k := range filters {
		declared := parse(capabilities.get(k.capability))
		if string(wanted.get(k.member)) == "true" && string(declared.get("listChanged")) == "true" {
			n.lists[k.method] = true
			agreed = agreed.set(k.member, json.RawMessage("true"))
		}
	}
	if uris := wanted.get("resourceSubscriptions"); string(parse(capabilities.get("resources")).get("subscribe")) == "true" {
		for _, raw := range items(uris) {
			var uri string
			if json.Unmarshal(raw, &uri) == nil && uri != "" {
				n.uris[uri] = true
			}
		}
		if len(n.uris) > 0 {
			agreed = agreed.set("resourceSubscriptions", uris)
		}
	}
	if len(n.lists)+len(n.uris) == 0 {
		f.q.put(n.stamp(methodAcknowledged, object{}.set("notifications", agreed.raw())))
		f.answer(n.result())
		return
	}
	if err := n.start(f.ctx, meta, agreed); err != nil {
		n.end()
		if f.ctx.Err() != nil {
			err = wire.ErrClosed
		}
		f.fail(err)
	}
}

// start subscribes to the resources, and acknowledges before anything else is told.
func (n *listen) start(ctx context.Context, meta, agreed object) error {
	a, f := n.a, n.front
	// A call of its own finds the conversation; once the listen is in it the call has done its work.
	c := &call{a: a, method: methodListen, use: light, bare: true, own: make(chan json.RawMessage, 1)}
	if err := a.take(ctx, c, meta.get(metaCapabilities), meta.get(metaClient)); err != nil {
		return err
	}
	a.mu.Lock()
	l := c.link
	n.link, n.pool = l, l.pool
	l.listens[n] = struct{}{}
	var subscribe []string
	for uri := range n.uris {
		if l.subscribed[uri]++; l.subscribed[uri] == 1 {
			subscribe = append(subscribe, uri)
		}
	}
	a.mu.Unlock()
	a.release(c, 0)
	for _, uri := range subscribe {
		answer, err := l.call(ctx, methodSubscribe, object{}.set("uri", quote(uri)).raw())
		if err != nil {
			return err
		}
		if failure := answer.get("error"); failure != nil {
			refused := &wire.Error{Code: codeInternal, Message: "resources/subscribe was refused"}
			_ = json.Unmarshal(failure, refused) // what it does not say stays
			return refused
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.dead || ctx.Err() != nil {
		return io.ErrClosedPipe
	}
	f.q.put(n.stamp(methodAcknowledged, object{}.set("notifications", agreed.raw())))
	f.listen = n
	n.pool.listens[n] = struct{}{}
	return nil
}

// stamp makes a notification of the subscription.
func (n *listen) stamp(method string, params object) json.RawMessage {
	meta := parse(params.get("_meta")).set(metaSubscription, n.front.id)
	return notification(method, params.set("_meta", meta.raw()).raw())
}

// result is the ordinary end.
func (n *listen) result() json.RawMessage {
	meta := object{}.set(metaSubscription, n.front.id)
	result := object{}.set("resultType", json.RawMessage(`"complete"`)).set("_meta", meta.raw())
	return response(n.front.id, n.a.signed(result).raw())
}

// changed tells those who listen. A list is one for all conversations of a pool, and a resource is subscribed in one.
func (l *link) changed(m wire.Message) {
	a := l.a
	params := parse(parse(m.Raw).get("params"))
	uri := params.text("uri")
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range l.pool.listens {
		switch {
		case m.Method == methodUpdated:
			if n.link == l && n.hears(uri) {
				n.front.q.put(n.stamp(m.Method, params))
			}
		case n.lists[m.Method] && !n.waiting[m.Method]:
			n.waiting[m.Method] = true
			time.AfterFunc(gatherLists, func() {
				a.mu.Lock()
				defer a.mu.Unlock()
				delete(n.waiting, m.Method)
				if !n.ended {
					n.front.q.put(n.stamp(m.Method, params))
				}
			})
		}
	}
}

// hears tells whether an updated resource is one that was subscribed to, or a part of one. a.mu is held.
func (n *listen) hears(uri string) bool {
	if n.uris[uri] {
		return true
	}
	for subscribed := range n.uris {
		if len(uri) > len(subscribed) && uri[:len(subscribed)] == subscribed {
			return true
		}
	}
	return false
}

// end takes the listen out. What nobody else of its conversation wants is unsubscribed.
func (n *listen) end() {
	a := n.a
	a.mu.Lock()
	l := n.link
	if n.ended || l == nil {
		a.mu.Unlock()
		return
	}
	n.ended = true
	delete(n.pool.listens, n)
	delete(l.listens, n)
	var drop []string
	for uri := range n.uris {
		if l.subscribed[uri]--; l.subscribed[uri] <= 0 {
			delete(l.subscribed, uri)
			drop = append(drop, uri)
		}
	}
	if l.dead {
		drop = nil
	}
	l.rest()
	a.mu.Unlock()
	if len(drop) == 0 {
		return
	}
	a.spawn(func() {
		for _, uri := range drop {
			ctx, cancel := context.WithTimeout(a.ctx, coolFor)
			_, _ = l.call(ctx, methodUnsubscribe, object{}.set("uri", quote(uri)).raw()) // at worst there is too much news
			cancel()
		}
	})
}

// over ends the listen for its client: it has to begin again.
func (n *listen) over() {
	n.end()
	n.a.mu.Lock()
	n.front.listen = nil
	n.a.mu.Unlock()
	n.front.answer(n.result())
}
