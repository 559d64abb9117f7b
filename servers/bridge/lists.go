package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// The keys of a server's metadata that say what it lists.
const (
	MetaTools     = "mcp.tools" // how many
	MetaPrompts   = "mcp.prompts"
	MetaResources = "mcp.resources"
	MetaLists     = "mcp.lists" // a digest of all three: another one, another list
)

// kinds are what a server lists, with the keys of their counts.
var kinds = []struct{ name, key string }{{"tools", MetaTools}, {"prompts", MetaPrompts}, {"resources", MetaResources}}

const (
	listPatience = 10 * time.Second // for one page of a list
	maxPages     = 100              // of a list
)

// lists is what a server lists, as it was when it was asked last.
type lists struct {
	counts map[string]int // by kind; nil: it was not asked yet
	digest string
	found  map[string]bool // kinds with something in them that the server has not declared
	rules  map[string][]paramRule
}

// show adds what is known to a server's metadata.
func (l lists) show(m map[string]string) {
	for _, kind := range kinds {
		if n, ok := l.counts[kind.name]; ok {
			m[kind.key] = strconv.Itoa(n)
		}
	}
	if l.digest != "" {
		m[MetaLists] = l.digest
	}
}

// shown reads what show has added.
func shown(m map[string]string) (l lists) {
	for _, kind := range kinds {
		if n, err := strconv.Atoi(m[kind.key]); err == nil {
			if l.counts == nil {
				l.counts = map[string]int{}
			}
			l.counts[kind.name] = n
		}
	}
	l.digest = m[MetaLists]
	return l
}

// declare adds the kinds that were found to what the server has declared.
func (l lists) declare(capabilities json.RawMessage) json.RawMessage {
	if len(l.found) == 0 {
		return capabilities
	}
	declared := map[string]json.RawMessage{}
	if len(capabilities) > 0 && json.Unmarshal(capabilities, &declared) != nil {
		return capabilities
	}
	for kind := range l.found {
		declared[kind] = json.RawMessage(`{"listChanged":true}`)
	}
	out, err := json.Marshal(declared)
	if err != nil {
		return capabilities
	}
	return out
}

// attend does what has to be done beside a child that is there, until stop is called, which waits.
func (s *Stdio) attend(l *life) (stop func()) {
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keepLooking(ctx, l)
	}()
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		if l.mux.info.Era == servers.Modern {
			l.mux.keepListening(ctx)
		}
	}()
	rested := make(chan struct{})
	go func() {
		defer close(rested)
		s.watchIdle(ctx, l)
	}()
	return func() {
		cancel()
		<-done
		<-listened
		<-rested
	}
}

// keepLooking asks for the lists, and again after each sign that they have changed.
func (s *Stdio) keepLooking(ctx context.Context, l *life) {
	for {
		if err := s.survey(ctx, l); err != nil && ctx.Err() == nil {
			s.opts.Logger.Info("the server's lists are not known", "command", s.name(), "err", err)
		}
		select {
		case <-l.kick:
		case <-ctx.Done():
			return
		}
		select { // a server that adds ten tools says so ten times
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// survey asks a child what it is and lists now.
func (s *Stdio) survey(ctx context.Context, l *life) error {
	p := l.mux.openOwn()
	if p == nil {
		return errRested
	}
	defer p.Close()
	s.mu.Lock()
	first := s.lists.counts == nil
	s.mu.Unlock()
	info, now, err := look(ctx, l.mux.info, first, p.ask)
	if now.counts == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != l.child {
		return nil // another one is there
	}
	if !now.same(s.lists) || !bytes.Equal(info.Result, s.info.Result) {
		s.lists, s.info = now, info
		s.changed()
	}
	return err
}

// same tells whether a server lists the same.
func (l lists) same(o lists) bool {
	return l.digest == o.digest && maps.Equal(l.counts, o.counts) && maps.Equal(l.found, o.found)
}

// asker makes a request of the bridge's own and returns its result.
type asker func(ctx context.Context, method string, cursor json.RawMessage) (json.RawMessage, error)

// look asks a server what it is and lists now; what it was before is info. first: it was asked that just now. The error says what it did not tell; where it
// told nothing, the counts are nil.
func look(ctx context.Context, info servers.Info, first bool, ask asker) (servers.Info, lists, error) {
	if info.Era == servers.Modern && !first {
		raw, err := ask(ctx, "server/discover", nil)
		if err != nil {
			return info, lists{}, err
		}
		if now, ok := servers.ReadDiscover(raw); ok {
			info = now
		}
	}
	declared := map[string]json.RawMessage{}
	_ = json.Unmarshal(info.Capabilities, &declared) // what is no object declares nothing
	now := lists{counts: map[string]int{}, found: map[string]bool{}, rules: map[string][]paramRule{}}
	sum := sha256.New()
	var failed error
	for _, kind := range kinds {
		_, is := declared[kind.name]
		if !is && (first || info.Era == servers.Modern) {
			continue
		}
		n, items, err := now.list(ctx, kind.name, ask)
		switch {
		case err != nil && is:
			failed = err
		case err == nil:
			now.counts[kind.name] = n
			if !is && n > 0 {
				now.found[kind.name] = true
			}
			fmt.Fprintf(sum, "%s %d %s\n", kind.name, len(items), items)
		}
	}
	if ctx.Err() != nil {
		return info, lists{}, ctx.Err()
	}
	now.digest = hex.EncodeToString(sum.Sum(nil)[:8])
	return info, now, failed
}

// list asks for all pages of a list. items are the bytes of all of them.
func (l *lists) list(ctx context.Context, kind string, ask asker) (n int, items []byte, err error) {
	var cursor json.RawMessage
	for range maxPages {
		raw, err := ask(ctx, kind+"/list", cursor)
		if err != nil {
			return 0, nil, err
		}
		var page map[string]json.RawMessage
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &page); err != nil {
			return 0, nil, fmt.Errorf("bridge: %s/list: %w", kind, err)
		}
		if err := json.Unmarshal(page[kind], &list); err != nil {
			return 0, nil, fmt.Errorf("bridge: %s/list: %w", kind, err)
		}
		n += len(list)
		if kind == "tools" {
			readRules(l.rules, page[kind])
		}
		items = append(items, page[kind]...)
		if cursor = page["nextCursor"]; len(cursor) == 0 || cursor[0] != '"' || string(cursor) == `""` {
			return n, items, nil
		}
	}
	return n, items, nil
}

// ask makes a request of the bridge's own and returns its result.
func (p *port) ask(ctx context.Context, method string, cursor json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	msg, err := ownRequest(method, cursor)
	if err != nil {
		return nil, err
	}
	raw := msg.Raw
	if p.m.info.Era == servers.Modern {
		raw = msg.WithMeta(servers.ModernVersion)
	}
	if err := p.Write(ctx, raw); err != nil {
		return nil, err
	}
	for {
		raw, err := p.Read(ctx)
		if err != nil {
			return nil, err
		}
		var a answer
		if err := json.Unmarshal(raw, &a); err != nil || a.Method != "" {
			continue
		}
		if a.Error != nil {
			return nil, a.Error
		}
		return a.Result, nil
	}
}

// ownRequest makes a request of the bridge's own.
func ownRequest(method string, cursor json.RawMessage) (wire.Message, error) {
	params := "{}"
	if cursor != nil {
		params = `{"cursor":` + string(cursor) + `}`
	}
	return wire.Scan(json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`))
}
