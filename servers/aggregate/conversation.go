package aggregate

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/toolbus/toolbus/servers/wire"
)

// conversation is one client, or all that have no session, on one side, and the links to the servers on the other.
type conversation struct {
	e      *Endpoint
	pipe   wire.Pipe // to the client
	legacy bool
	mark   string // begins every id that is ours: the client's own are in the same conversations

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // holds one token when there is something to tell

	mu         sync.Mutex
	links      map[string]*link    // by server
	pending    map[string]*request // by the client's id
	own        map[string]errand   // our requests to servers, by id
	asked      map[string]question // what servers have asked, by our id
	tokens     map[string]question // the progress tokens in that
	next       uint64
	params     json.RawMessage // of initialize
	ready      bool            // initialize was answered
	level      json.RawMessage // params of logging/setLevel
	subscribed map[string]map[string]bool
	news       kindSet
	returned   map[string]bool // servers that are there again
}

// request is one of the client's that has no answer yet.
type request struct {
	id     json.RawMessage
	method string
	link   *link           // who has it; nil: nobody yet
	uri    string          // of a resource
	raw    json.RawMessage // kept while others may be asked
	rest   []place         // those others
	listen *listen
}

// errand is a request of ours to a server.
type errand struct {
	link   *link
	answer func(raw json.RawMessage) // nil: the conversation with the server has ended
	listen *request                  // the client's request that it serves, if it listens
}

// question is a request of a server's to the client.
type question struct {
	link *link
	was  json.RawMessage // the id, or token, that the server gave
	with string          // of a question: the key of its token
}

func newConversation(e *Endpoint, pipe wire.Pipe, legacy bool) *conversation {
	c := &conversation{
		e: e, pipe: pipe, legacy: legacy, mark: `"` + rand.Text()[:12] + `-`, wake: make(chan struct{}, 1),
		links: map[string]*link{}, pending: map[string]*request{}, own: map[string]errand{},
		asked: map[string]question{}, tokens: map[string]question{},
		subscribed: map[string]map[string]bool{}, returned: map[string]bool{},
	}
	c.ctx, c.cancel = context.WithCancel(e.ctx)
	return c
}

// run reads what the client says until it ends.
func (c *conversation) run() {
	for {
		raw, err := c.pipe.Read(c.ctx)
		if err != nil {
			break
		}
		m, err := wire.Scan(raw)
		if err != nil {
			c.e.log.Debug("not understood", "err", err)
			continue
		}
		switch {
		case m.Request():
			c.request(m)
		case m.Response():
			c.answered(m)
		default:
			c.notified(m)
		}
	}
	c.end()
	c.work.Wait()
}

// end ends the conversation for both sides.
func (c *conversation) end() {
	c.mu.Lock()
	c.cancel() // under the lock: see spawn
	links := c.links
	c.links = map[string]*link{}
	c.mu.Unlock()
	_ = c.pipe.Close()
	for _, l := range links {
		l.cancel()
	}
	c.e.forget(c)
}

// spawn runs f on a goroutine of the conversation. It is false once that has ended.
func (c *conversation) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.work.Go(f)
	return true
}

// say hands the client one message.
func (c *conversation) say(raw json.RawMessage) { _ = c.pipe.Write(c.ctx, raw) } // run sees an end

// refuse answers a request of the client's with an error.
func (c *conversation) refuse(id json.RawMessage, err *wire.Error) { c.say(err.Response(id)) }

// id makes an id that no client and no other server uses. c.mu is held.
func (c *conversation) id() json.RawMessage {
	c.next++
	return json.RawMessage(c.mark + strconv.FormatUint(c.next, 10) + `"`)
}

// take removes a request that waits for its answer; nil if it does not.
func (c *conversation) take(id json.RawMessage) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.pending[string(id)]
	delete(c.pending, string(id))
	return r
}

// changed notes that lists have changed, for tell.
func (c *conversation) changed(which kindSet) {
	c.mu.Lock()
	c.news |= which
	c.mu.Unlock()
	c.rouse()
}

// back notes that a server is there, perhaps again.
func (c *conversation) back(server string) {
	c.mu.Lock()
	c.returned[server] = true
	c.mu.Unlock()
	c.rouse()
}

func (c *conversation) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// tell tells the client that lists have changed, and servers that are there again what the client wants of them. A slow client gets one word for many changes.
func (c *conversation) tell() {
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		c.mu.Lock()
		which, returned, ready := c.news, c.returned, c.ready
		c.news, c.returned = 0, map[string]bool{}
		var listens []*request
		for _, r := range c.pending {
			if r.listen != nil {
				listens = append(listens, r)
			}
		}
		c.mu.Unlock()
		sent := map[string]bool{}
		for k := range kinds {
			method := kindInfos[k].changed
			if !which.has(k) || sent[method] {
				continue
			}
			sent[method] = true
			if c.legacy && ready {
				c.say(json.RawMessage(`{"jsonrpc":"2.0","method":"` + method + `"}`))
			}
			for _, r := range listens {
				if r.listen.wants.has(k) {
					c.say(json.RawMessage(`{"jsonrpc":"2.0","method":"` + method + `","params":{"_meta":{"` + metaSubscription + `":` + string(r.id) + `}}}`))
				}
			}
		}
		for server := range returned {
			c.restore(server)
		}
	}
}

// restore subscribes again at a server that was away.
func (c *conversation) restore(server string) {
	if c.legacy {
		c.mu.Lock()
		lacks := len(c.subscribed[server]) > 0 && c.links[server] == nil
		c.mu.Unlock()
		if lacks {
			c.link(server) // which begins with that
		}
		return
	}
	c.relisten(server)
}
