package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/toolbus/toolbus/servers/wire"
)

// paramRule is one argument of a tool that has to stand in a header as well: the tool's schema says so with x-mcp-header.
type paramRule struct {
	path   []string
	header string
}

// schema is what of an input schema is read here.
type schema struct {
	Header     json.RawMessage            `json:"x-mcp-header"`
	Properties map[string]json.RawMessage `json:"properties"`
}

// readRules finds the rules in an input schema, however deep. What is no schema has none.
func readRules(raw json.RawMessage) []paramRule {
	if !bytes.Contains(raw, []byte("x-mcp-header")) {
		return nil
	}
	return rulesBelow(raw, nil)
}

func rulesBelow(raw json.RawMessage, path []string) (rules []paramRule) {
	var s schema
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	var header string
	if len(path) > 0 && json.Unmarshal(s.Header, &header) == nil && header != "" {
		rules = append(rules, paramRule{path, header})
	}
	for name, property := range s.Properties {
		rules = append(rules, rulesBelow(property, append(path[:len(path):len(path)], name))...)
	}
	return rules
}

// broken tells which rule a call does not keep, "" if it keeps them all.
func broken(rules []paramRule, h http.Header, call json.RawMessage) string {
	if len(rules) == 0 {
		return ""
	}
	var body struct {
		Params struct {
			Arguments json.RawMessage `json:"arguments"`
		} `json:"params"`
	}
	if err := json.Unmarshal(call, &body); err != nil {
		return "the arguments cannot be read"
	}
	for _, rule := range rules {
		header, name := headerParam+rule.header, strings.Join(rule.path, ".")
		sent := h.Values(header)
		value := argument(body.Params.Arguments, rule.path)
		switch {
		case len(sent) > 1:
			return fmt.Sprintf("the header %s stands more than once", header)
		case value == nil && len(sent) == 0:
			continue
		case value == nil:
			return fmt.Sprintf("the header %s stands for %s, which is not in the body", header, name)
		case len(sent) == 0:
			return fmt.Sprintf("the header %s is missing: the body has %s", header, name)
		}
		text, ok := decodeHeader(sent[0])
		if !ok {
			return fmt.Sprintf("the header %s is no valid base64", header)
		}
		if !sameValue(text, value) {
			return fmt.Sprintf("the header %s does not say what the body's %s says", header, name)
		}
	}
	return ""
}

// argument finds an argument; nil if it is not there, or null.
func argument(raw json.RawMessage, path []string) json.RawMessage {
	for _, name := range path {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return nil
		}
		raw = object[name]
	}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return raw
}

// maxInteger is the largest integer that every reader of JSON holds exactly: beyond it nobody can say that two are the same.
const maxInteger = 1<<53 - 1

// sameValue compares a header with a string, an integer or a boolean of the body. Other values have no place in a header.
func sameValue(text string, raw json.RawMessage) bool {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return false
	}
	switch v := value.(type) {
	case string:
		return text == v
	case bool:
		return text == strconv.FormatBool(v)
	case float64:
		n, err := strconv.ParseFloat(text, 64)
		return err == nil && n == v && v == math.Trunc(v) && math.Abs(v) <= maxInteger
	}
	return false
}

// listTools asks a server for its tools, all pages, and reads what their schemas want in headers.
func listTools(ctx context.Context, far far, at wire.Target, version string) (map[string][]paramRule, error) {
	rules := map[string][]paramRule{}
	cursor := ""
	for range 1000 { // pages: a server that never comes to an end is not asked for ever
		params := map[string]any{"_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion":    version,
			"io.modelcontextprotocol/clientInfo":         map[string]string{"name": "toolbus-gateway", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": struct{}{},
		}}
		if cursor != "" {
			params["cursor"] = cursor
		}
		msg, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params})
		if err != nil {
			return nil, err
		}
		var page struct {
			Result struct {
				Tools []struct {
					Name        string          `json:"name"`
					InputSchema json.RawMessage `json:"inputSchema"`
				} `json:"tools"`
				NextCursor string `json:"nextCursor"`
			} `json:"result"`
			Error *wire.Error `json:"error"`
		}
		answer, err := answerOf(ctx, far, at, msg)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return nil, fmt.Errorf("gateway: a list of tools: %w", err)
		}
		if page.Error != nil {
			return nil, page.Error
		}
		for _, tool := range page.Result.Tools {
			rules[tool.Name] = readRules(tool.InputSchema)
		}
		if cursor = page.Result.NextCursor; cursor == "" {
			return rules, nil
		}
	}
	return nil, fmt.Errorf("gateway: the list of tools has no end")
}

// answerOf makes one request and waits for its answer.
func answerOf(ctx context.Context, far far, at wire.Target, msg json.RawMessage) (json.RawMessage, error) {
	s, err := far.request(ctx, at, msg)
	if err != nil {
		return nil, err
	}
	defer s.close()
	for {
		e, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		if e.last {
			return e.msg, nil
		}
	}
}
