package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/toolbus/toolbus/servers/wire"
)

// The headers of the protocol.
const (
	headerVersion = "Mcp-Protocol-Version"
	headerSession = "Mcp-Session-Id"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerParam   = "Mcp-Param-"
	headerLast    = "Last-Event-ID"
)

// paramRule is an argument of a tool that has to stand in a header as well: its schema says so with x-mcp-header.
type paramRule struct {
	path   []string
	header string
}

// readRules finds the rules of each tool in a page of tools/list.
func readRules(into map[string][]paramRule, tools json.RawMessage) {
	if !bytes.Contains(tools, []byte("x-mcp-header")) {
		return
	}
	var list []struct {
		Name        string          `json:"name"`
		InputSchema json.RawMessage `json:"inputSchema"`
	}
	if json.Unmarshal(tools, &list) != nil {
		return
	}
	for _, tool := range list {
		if rules := rulesBelow(tool.InputSchema, nil); rules != nil {
			into[tool.Name] = rules
		}
	}
}

func rulesBelow(raw json.RawMessage, path []string) (rules []paramRule) {
	var s struct {
		Header     string                     `json:"x-mcp-header"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	if s.Header != "" && len(path) > 0 {
		rules = append(rules, paramRule{path, s.Header})
	}
	for name, property := range s.Properties {
		rules = append(rules, rulesBelow(property, append(path[:len(path):len(path)], name))...)
	}
	return rules
}

// mirror puts into the headers what a modern request says.
func (h *HTTP) mirror(to http.Header, msg wire.Message) {
	to.Set(headerVersion, msg.Version)
	to.Set(headerMethod, msg.Method)
	target, err := msg.Target()
	if err != nil || target == "" {
		return
	}
	to.Set(headerName, headerValue(target))
	if msg.Method != "tools/call" {
		return
	}
	h.mu.Lock()
	rules := h.rules[target]
	h.mu.Unlock()
	if len(rules) == 0 {
		return
	}
	var body struct {
		Params struct {
			Arguments json.RawMessage `json:"arguments"`
		} `json:"params"`
	}
	if json.Unmarshal(msg.Raw, &body) != nil {
		return
	}
	for _, rule := range rules {
		if value, ok := primitive(body.Params.Arguments, rule.path); ok {
			to.Set(headerParam+rule.header, headerValue(value))
		}
	}
}

// primitive is an argument as a header has it. False: it is not there, or nothing that a header can say.
func primitive(raw json.RawMessage, path []string) (string, bool) {
	for _, name := range path {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return "", false
		}
		raw = object[name]
	}
	var value any
	if len(raw) == 0 || json.Unmarshal(raw, &value) != nil {
		return "", false
	}
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatInt(int64(v), 10), true
		}
	}
	return "", false
}

// base64Prefix begins a header's value that is written as base64.
const base64Prefix = "=?base64?"

// headerValue writes a text so that a header can carry it: what is not plain ASCII goes as base64.
func headerValue(text string) string {
	plain := headerSafe(text) && !strings.HasPrefix(text, base64Prefix)
	for _, c := range []byte(text) {
		plain = plain && c < 0x7f
	}
	if plain {
		return text
	}
	return base64Prefix + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
}

// headerSafe tells whether a header can carry a text at all: without control characters, or spaces that would be cut off.
func headerSafe(text string) bool {
	for _, c := range []byte(text) {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return strings.TrimSpace(text) == text
}
