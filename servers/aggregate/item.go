package aggregate

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/yosida95/uritemplate/v3"
)

// kind is one of the four lists of a server.
type kind int

const (
	tools kind = iota
	prompts
	resources
	templates
	kinds // how many there are
)

// kindInfo is what the protocol calls a list.
type kindInfo struct {
	method  string
	member  string // of the result
	key     string // of an item
	declare string // the capability
	changed string // the notification
}

var kindInfos = [kinds]kindInfo{
	tools:     {"tools/list", "tools", "name", "tools", "notifications/tools/list_changed"},
	prompts:   {"prompts/list", "prompts", "name", "prompts", "notifications/prompts/list_changed"},
	resources: {"resources/list", "resources", "uri", "resources", "notifications/resources/list_changed"},
	templates: {"resources/templates/list", "resourceTemplates", "uriTemplate", "resources", "notifications/resources/list_changed"},
}

// kindSet are some of the lists.
type kindSet uint8

const allKinds kindSet = 1<<kinds - 1

func (s kindSet) has(k kind) bool { return s&(1<<k) != 0 }

// listOf is the list that a method asks for.
func listOf(method string) (kind, bool) {
	for k := range kinds {
		if kindInfos[k].method == method {
			return k, true
		}
	}
	return 0, false
}

// changedBy are the lists that a notification says have changed.
func changedBy(notification string) (s kindSet) {
	for k := range kinds {
		if kindInfos[k].changed == notification {
			s |= 1 << k
		}
	}
	return s
}

// item is one tool, prompt, resource or template as its server lists it.
type item struct {
	key   string // its name or URI
	raw   json.RawMessage
	at    span           // where the key stands in raw
	match *regexp.Regexp // of a template: the URIs that it makes
}

// as is the item under another key.
func (i item) as(key string) json.RawMessage {
	if key == i.key {
		return i.raw
	}
	return replace(i.raw, i.at, quote(key))
}

// readPage reads one page of a list. An item without a key, or with two, is left out: nobody could name it.
func readPage(k kind, result json.RawMessage) (items []item, cursor string, err error) {
	var page map[string]json.RawMessage
	if err := json.Unmarshal(result, &page); err != nil {
		return nil, "", fmt.Errorf("aggregate: result of %s: %w", kindInfos[k].method, err)
	}
	var raws []json.RawMessage
	if raw, ok := page[kindInfos[k].member]; ok {
		if err := json.Unmarshal(raw, &raws); err != nil {
			return nil, "", fmt.Errorf("aggregate: result of %s: %w", kindInfos[k].method, err)
		}
	}
	if raw, ok := page["nextCursor"]; ok {
		_ = json.Unmarshal(raw, &cursor) // one that is no string leads nowhere
	}
	for _, raw := range raws {
		key, at, ok := text(raw, kindInfos[k].key)
		if !ok || key == "" {
			continue
		}
		i := item{key: key, raw: raw, at: at}
		if k == templates {
			if t, err := uritemplate.New(key); err == nil {
				i.match = t.Regexp()
			}
		}
		items = append(items, i)
	}
	return items, cursor, nil
}
