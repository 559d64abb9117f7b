package aggregate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

const (
	listTimeout = 30 * time.Second // for all pages of all lists of one server
	ackTimeout  = 500 * time.Millisecond
	maxPages    = 1000 // of one list
	quiet       = 20 * time.Millisecond
	pollEvery   = time.Minute // where a server cannot say that its lists have changed
	maxPause    = 30 * time.Second
	maxFailures = 3 // in a row, and what a server listed before is shown no more
)

// member is one server of the endpoint: what it lists, kept up to date by one goroutine.
type member struct {
	e      *Endpoint
	name   string
	cancel context.CancelFunc
	stir   chan struct{} // holds one token when lists are to be read again
	until  time.Time     // so long lists wait for its first answer

	// the Endpoint's lock guards these
	record  registry.Record
	stale   kindSet
	lists   [kinds][]item
	loaded  bool // lists are there
	settled bool // it has answered, or failed, once
}

// touch has some lists read again. The Endpoint's lock is held.
func (m *member) touch(which kindSet) {
	m.stale |= which
	select {
	case m.stir <- struct{}{}:
	default:
	}
}

// run reads the lists and keeps them until ctx ends.
func (m *member) run(ctx context.Context) {
	failures := 0
	for {
		err := m.follow(ctx, func() { failures = 0 })
		if ctx.Err() != nil {
			return
		}
		failures++
		m.e.failed(m, failures >= maxFailures)
		pause := min(maxPause, 100*time.Millisecond<<min(failures, 10))
		pause += rand.N(pause / 4)
		m.e.log.Debug("a server's lists could not be kept", "name", m.name, "err", err, "next", pause)
		select {
		case <-time.After(pause):
		case <-m.stir:
		case <-ctx.Done():
			return
		}
	}
}

// follow reads all lists, then those that change, until something fails.
func (m *member) follow(ctx context.Context, ok func()) error {
	pipe, err := m.e.caller.Dial(wire.Target{Name: m.name})
	if err != nil {
		return err
	}
	acked := make(chan struct{}, 1)
	t := newTalk(pipe, func(msg wire.Message) {
		if msg.Method == "notifications/subscriptions/acknowledged" {
			select {
			case acked <- struct{}{}:
			default:
			}
		}
		m.changed(msg)
	})
	defer t.close()
	id, ended, err := t.begin(ctx, "subscriptions/listen",
		`{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true},`+modernMeta+`}`)
	if err != nil {
		return err
	}
	defer func() {
		_ = t.tell(context.WithoutCancel(ctx), "notifications/cancelled", `{"requestId":`+id+`,"reason":"the endpoint was closed"}`)
	}()
	var refusal json.RawMessage
	listens := true
	late := time.NewTimer(ackTimeout) // a change after the lists were read must not be missed
	defer late.Stop()
	select {
	case <-acked:
	case refusal, listens = <-ended:
		if !listens {
			return errors.New("the conversation ended")
		}
		listens, ended = false, nil
	case <-late.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := gone(refusal); err != nil {
		return err
	}
	var other *talk // a session, with a server that knows nothing of listening
	lister := t
	if !listens {
		if other = m.session(ctx); other != nil {
			defer other.close()
			lister = other
		}
	}
	m.e.mu.Lock()
	m.stale = allKinds
	m.e.mu.Unlock()
	if err := m.load(ctx, lister, other == nil); err != nil {
		return err
	}
	ok()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		var sessionEnded <-chan struct{}
		if other != nil {
			sessionEnded = other.done
		}
		select {
		case <-m.stir:
			select {
			case <-time.After(quiet): // changes come in swarms
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := m.load(ctx, lister, other == nil); err != nil {
				return err
			}
		case <-acked: // later than the lists were read
			m.e.touch(m, allKinds)
		case raw := <-ended:
			if err := gone(raw); err != nil || listens && raw == nil {
				return errors.Join(errors.New("listening has ended"), err)
			}
			listens, ended = false, nil
		case <-sessionEnded:
			return errors.New("the session has ended")
		case <-poll.C:
			if !listens && other == nil {
				m.e.touch(m, allKinds)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gone tells whether a refused request for listening means that nobody is there; any other refusal only that the server cannot do it.
func gone(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	_, err := resultOf(raw)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Known() {
		return e
	}
	return nil
}

// changed takes what the server says: that lists have changed, perhaps.
func (m *member) changed(msg wire.Message) {
	if which := changedBy(msg.Method); which != 0 {
		m.e.touch(m, which)
	}
}

// session opens a legacy session with a server that cannot be listened to. nil: it has none for us.
func (m *member) session(ctx context.Context) *talk {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	pipe, err := m.e.caller.Dial(wire.Target{Name: m.name})
	if err != nil {
		return nil
	}
	t := newTalk(pipe, m.changed)
	_, err = t.ask(ctx, "initialize", `{"protocolVersion":"`+servers.LegacyVersion+`","capabilities":{},"clientInfo":`+self+`}`)
	if err == nil {
		err = t.tell(ctx, "notifications/initialized", `{}`)
	}
	if err != nil {
		m.e.log.Debug("a server cannot say that its lists change", "name", m.name, "err", err)
		t.close()
		return nil
	}
	return t
}

// load reads the lists that are stale.
func (m *member) load(ctx context.Context, t *talk, modern bool) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	m.e.mu.Lock()
	which, record := m.stale, m.record
	m.stale = 0
	m.e.mu.Unlock()
	declared := declares(record)
	var lists [kinds][]item
	for k := range kinds {
		if !which.has(k) || !declared.has(k) {
			continue
		}
		var err error
		if lists[k], err = m.list(ctx, t, k, modern); err != nil {
			m.e.mu.Lock()
			m.stale |= which
			m.e.mu.Unlock()
			return err
		}
	}
	m.e.loaded(m, which, lists)
	return nil
}

// list reads all pages of a list. A server that does not know the list has none.
func (m *member) list(ctx context.Context, t *talk, k kind, modern bool) (all []item, err error) {
	cursor := ""
	for range maxPages {
		var params []string
		if cursor != "" {
			params = append(params, `"cursor":`+string(quote(cursor)))
		}
		if modern {
			params = append(params, modernMeta)
		}
		result, err := t.ask(ctx, kindInfos[k].method, `{`+strings.Join(params, ",")+`}`)
		if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == codeMethodNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("aggregate: %s of %s: %w", kindInfos[k].method, m.name, err)
		}
		items, next, err := readPage(k, result)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if next == "" || next == cursor {
			return all, nil
		}
		cursor = next
	}
	return nil, fmt.Errorf("aggregate: %s of %s has no end", kindInfos[k].method, m.name)
}

// declares are the lists that a server says it has. One that says nothing is asked for all.
func declares(record registry.Record) (s kindSet) {
	var declared map[string]json.RawMessage
	if json.Unmarshal([]byte(record.Metadata[servers.MetaCapabilities]), &declared) != nil {
		return allKinds
	}
	for k := range kinds {
		if raw, ok := declared[kindInfos[k].declare]; ok && string(raw) != "null" {
			s |= 1 << k
		}
	}
	return s
}
