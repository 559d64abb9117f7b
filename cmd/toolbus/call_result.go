package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// content is one piece of a tool's answer.
type content struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Data     string `json:"data"`
	MimeType string `json:"mimeType"`
	URI      string `json:"uri"`
	Name     string `json:"name"`
	Resource *struct {
		URI      string  `json:"uri"`
		MimeType string  `json:"mimeType"`
		Text     *string `json:"text"`
		Blob     string  `json:"blob"`
	} `json:"resource"`
}

// String is the content for people: text as it is, anything else described.
func (c content) String() string {
	switch {
	case c.Type == "text":
		return c.Text
	case c.Type == "resource_link":
		return fmt.Sprintf("[resource %s %s]", c.Name, c.URI)
	case c.Resource != nil && c.Resource.Text != nil:
		return *c.Resource.Text
	case c.Resource != nil:
		return fmt.Sprintf("[resource %s %s, %s]", c.Resource.URI, c.Resource.MimeType, size(c.Resource.Blob))
	}
	return fmt.Sprintf("[%s %s, %s]", c.Type, c.MimeType, size(c.Data))
}

// size is that of what base64 holds.
func size(data string) string {
	n := base64.StdEncoding.DecodedLen(len(data)) - strings.Count(data, "=")
	if n < 1024 {
		return count(n, "byte")
	}
	return fmt.Sprintf("%d KiB", n/1024)
}

// callResult is the JSON of `call`. The result is the server's own bytes.
type callResult struct {
	header
	Server string          `json:"server"`
	Tool   string          `json:"tool"`
	Result json.RawMessage `json:"result"`
}

// printResult prints what a tool gave. A result that says that it is an error becomes one here.
func (e *env) printResult(name, tool string, raw json.RawMessage) error {
	var result struct {
		Content    []content       `json:"content"`
		Structured json.RawMessage `json:"structuredContent"`
		IsError    bool            `json:"isError"`
		ResultType string          `json:"resultType"`
		Inputs     map[string]struct {
			Method string `json:"method"`
		} `json:"inputRequests"`
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return fail(classTool, "-o json shows what a server answered", "the answer of %s is not understood: %s", name, err)
	}
	if e.out.machine() {
		if err := e.out.document(callResult{head("CallResult"), name, tool, raw}); err != nil {
			return err
		}
	}
	var text []string
	for _, c := range result.Content {
		text = append(text, c.String())
	}
	if len(text) == 0 && len(result.Structured) > 0 {
		text = append(text, string(result.Structured))
	}
	switch {
	case result.ResultType == "input_required":
		var asks []string
		for _, in := range result.Inputs {
			asks = append(asks, in.Method)
		}
		return fail(classTool, "call it from a client that can answer", "%s %s asks for input, which this command cannot give: %s", name, tool, strings.Join(asks, ", ")).
			with("name", name).with("tool", tool)
	case result.IsError:
		msg := strings.Join(text, "\n")
		if msg == "" {
			msg = "it says no more than that it failed"
		}
		return fail(classTool, "toolbus call "+name+" lists its tools and their arguments", "%s %s: %s", name, tool, msg).with("name", name).with("tool", tool)
	case e.out.machine():
		return nil
	}
	for i := range text {
		if e.out.tty {
			text[i] = cleanText(text[i])
		}
		text[i] = strings.TrimSuffix(text[i], "\n")
	}
	return e.out.lines(text)
}
