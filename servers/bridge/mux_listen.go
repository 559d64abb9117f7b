package bridge

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// The methods of a modern server's news.
const (
	methodListen       = "subscriptions/listen"
	methodAcknowledged = "notifications/subscriptions/acknowledged"
	methodUpdated      = "notifications/resources/updated"
)

// listens merges the subscriptions/listen of all users into one that the child has: servers exist, those of the official Go SDK among them, that feed
// only the last of several on one connection. The one asks for the lists from the beginning, as the bridge itself wants to know when they change; it
// is opened again where a user wants news of a resource that it does not cover yet. mux.mu guards it.
type listens struct {
	id     string // of the child's listen, as it sees it; "": none
	asked  news   // by it
	agreed *news  // nil: not acknowledged yet
	none   bool   // the server has no listens: each is passed on as it is
	over   chan struct{}
	users  map[*listener]struct{}
	kick   chan struct{} // what is wanted has changed
}

// listener is one subscriptions/listen of a user.
type listener struct {
	port  *port
	id    json.RawMessage
	raw   json.RawMessage
	want  news
	acked bool
}

// news is what can be listened for.
type news struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

// covers tells whether whoever listens for n hears all of the resources in o.
func (n news) covers(o news) bool {
	for _, uri := range o.URIs {
		if !slices.Contains(n.URIs, uri) {
			return false
		}
	}
	return true
}

// common is what both want.
func (n news) common(o news) news {
	return news{n.Tools && o.Tools, n.Prompts && o.Prompts, n.Resources && o.Resources,
		slices.DeleteFunc(slices.Clone(n.URIs), func(uri string) bool { return !slices.Contains(o.URIs, uri) })}
}

// hears tells whether a notification is among the news.
func (n news) hears(method, uri string) bool {
	switch method {
	case "notifications/tools/list_changed":
		return n.Tools
	case "notifications/prompts/list_changed":
		return n.Prompts
	case "notifications/resources/list_changed":
		return n.Resources
	case methodUpdated:
		return slices.ContainsFunc(n.URIs, func(of string) bool { // of a part of it, too
			return uri == of || strings.HasPrefix(uri, strings.TrimSuffix(of, "/")+"/")
		})
	}
	return true // of a later version
}

func (l *listens) init() {
	l.users, l.kick = map[*listener]struct{}{}, make(chan struct{}, 1)
}

// drop takes users out, and tells whether there were any.
func (l *listens) drop(which func(*listener) bool) bool {
	before := len(l.users)
	maps.DeleteFunc(l.users, func(u *listener, _ struct{}) bool { return which(u) })
	return len(l.users) < before
}

func (l *listens) changed() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// listen takes a user's subscriptions/listen in. False: it is to be passed on as it is.
func (m *mux) listen(p *port, msg wire.Message) bool {
	want, ok := readNews(msg.Raw)
	if !ok || p.legacy || m.info.Era != servers.Modern {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listens.none || m.rested {
		return false
	}
	m.listens.users[&listener{port: p, id: append(json.RawMessage(nil), msg.ID()...), raw: msg.Raw, want: want}] = struct{}{}
	m.used = time.Now()
	m.listens.changed()
	return true
}

// readNews reads what a listen asks for. False: it asks for something that is not known here.
func readNews(raw json.RawMessage) (n news, ok bool) {
	var m struct {
		Params struct {
			Notifications map[string]json.RawMessage `json:"notifications"`
		} `json:"params"`
	}
	if json.Unmarshal(raw, &m) != nil || m.Params.Notifications == nil {
		return n, false
	}
	for key, value := range m.Params.Notifications {
		var to any
		switch key {
		case "toolsListChanged":
			to = &n.Tools
		case "promptsListChanged":
			to = &n.Prompts
		case "resourcesListChanged":
			to = &n.Resources
		case "resourceSubscriptions":
			to = &n.URIs
		default:
			return n, false
		}
		if json.Unmarshal(value, to) != nil {
			return n, false
		}
	}
	return n, true
}

// endPatience is how long the end of a listen that was cancelled is waited for, before the next is opened.
const endPatience = 500 * time.Millisecond

// keepListening keeps the child's one listen, as wide as its users want it, until ctx or the child ends.
func (m *mux) keepListening(ctx context.Context) {
	for pause := time.Duration(0); ; {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		over := m.openListen(ctx)
		select {
		case <-over:
			// By the server: with nothing to tell, or as it is ending.
			if m.ended() {
				return
			}
			pause = min(2*pause+time.Second, 30*time.Second)
			m.news() // something may have been missed
			continue
		case <-m.widened(ctx):
		case <-ctx.Done():
			return
		}
		// A server may take the end of one listen for the end of all, so the old one ends first.
		m.mu.Lock()
		id := m.listens.id
		m.mu.Unlock()
		_ = m.c.Write(ctx, json.RawMessage(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+id+`}}`))
		select {
		case <-over:
		case <-time.After(endPatience):
		case <-ctx.Done():
			return
		}
		pause = 0
		m.news()
	}
}

// openListen asks for all that is wanted. over is closed when the child has answered.
func (m *mux) openListen(ctx context.Context) (over chan struct{}) {
	m.mu.Lock()
	l := &m.listens
	want := news{Tools: true, Prompts: true, Resources: true}
	for u := range l.users {
		for _, uri := range u.want.URIs {
			if !slices.Contains(want.URIs, uri) {
				want.URIs = append(want.URIs, uri)
			}
		}
	}
	slices.Sort(want.URIs)
	over = make(chan struct{})
	l.id, l.asked, l.agreed, l.over = m.name(), want, nil, over
	notifications, _ := json.Marshal(want)
	raw := json.RawMessage(`{"jsonrpc":"2.0","id":` + l.id + `,"method":"` + methodListen + `","params":{"notifications":` + string(notifications) + `}}`)
	m.mu.Unlock()
	if msg, err := wire.Scan(raw); err == nil {
		_ = m.c.Write(ctx, msg.WithMeta(servers.ModernVersion))
	}
	return over
}

// widened is closed when somebody wants what the child's listen does not cover. Who wants less is acknowledged here.
func (m *mux) widened(ctx context.Context) <-chan struct{} {
	wide := make(chan struct{})
	go func() {
		for {
			select {
			case <-m.listens.kick:
			case <-ctx.Done():
				return
			case <-m.listenOver():
				return
			}
			if m.acknowledge() {
				close(wide)
				return
			}
		}
	}()
	return wide
}

func (m *mux) listenOver() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listens.over
}

// acknowledge tells each user who waits for it what they will hear, and whether somebody wants more than the child was asked for.
func (m *mux) acknowledge() (more bool) {
	m.mu.Lock()
	l := &m.listens
	var tell []*listener
	for u := range l.users {
		switch {
		case u.acked:
		case !l.asked.covers(u.want):
			more = true
		case l.agreed != nil:
			u.acked = true
			tell = append(tell, u)
		}
	}
	var agreed news
	if l.agreed != nil {
		agreed = *l.agreed
	}
	m.mu.Unlock()
	for _, u := range tell {
		notifications, _ := json.Marshal(u.want.common(agreed))
		u.port.put(json.RawMessage(`{"jsonrpc":"2.0","method":"` + methodAcknowledged + `","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` +
			string(u.id) + `},"notifications":` + string(notifications) + `}}`))
	}
	return more
}

// ended deals with a listen that the server has ended. True: it has no listens, or none that tells anything.
func (m *mux) ended() bool {
	m.mu.Lock()
	l := &m.listens
	told := l.agreed != nil && (l.agreed.Tools || l.agreed.Prompts || l.agreed.Resources || len(l.agreed.URIs) > 0)
	users := slices.Collect(maps.Keys(l.users))
	clear(l.users)
	l.none = l.none || !told
	none := l.none
	m.mu.Unlock()
	for _, u := range users {
		switch {
		case none && !u.acked: // the child's own answer is the best there is
			if msg, err := wire.Scan(u.raw); err == nil {
				_ = u.port.request(m.ctx, msg)
			}
		default:
			u.port.put(json.RawMessage(`{"jsonrpc":"2.0","id":` + string(u.id) + `,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":` +
				string(u.id) + `}}}`))
		}
	}
	return none
}

// heard deals with a notification of the child's listen. False: it is none.
func (m *mux) heard(msg wire.Message) bool {
	m.mu.Lock()
	l := &m.listens
	if at := msg.At(wire.PlaceSubscription); at == nil || l.id == "" || key(at) != l.id {
		m.mu.Unlock()
		return false
	}
	if msg.Method == methodAcknowledged {
		agreed, _ := readNews(msg.Raw)
		l.agreed = &agreed
		l.changed()
		m.mu.Unlock()
		return true
	}
	uri := ""
	if msg.Method == methodUpdated {
		uri = updated(msg.Raw)
	}
	var tell []*listener
	for u := range l.users {
		if u.acked && u.want.hears(msg.Method, uri) {
			tell = append(tell, u)
		}
	}
	m.mu.Unlock()
	for _, u := range tell {
		u.port.put(msg.With(map[wire.Place]json.RawMessage{wire.PlaceSubscription: u.id}))
	}
	return true
}

// updated is the resource that has changed.
func updated(raw json.RawMessage) string {
	var m struct {
		Params struct {
			URI string `json:"uri"`
		} `json:"params"`
	}
	_ = json.Unmarshal(raw, &m) // "": nobody's
	return m.Params.URI
}

// unheard deals with an answer that no user waits for: it may end the child's listen.
func (m *mux) unheard(msg wire.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := &m.listens; l.id != "" && key(msg.ID()) == l.id {
		close(l.over)
		l.id = ""
	}
}
