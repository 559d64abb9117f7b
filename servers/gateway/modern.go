package gateway

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/toolbus/toolbus/servers/wire"
)

// modern serves one request of the stateless protocol: to whoever of the name takes it. A client that goes away cancels it.
func (g *Gateway) modern(w http.ResponseWriter, r *http.Request, at endpoint, m wire.Message) {
	if m.Response() {
		g.fail(w, http.StatusBadRequest, m.ID(), codeInvalidRequest, "a server of this protocol version asks nothing: there is nothing to answer")
		return
	}
	if code, why := checkHeaders(r.Header, m); why != "" {
		g.fail(w, http.StatusBadRequest, m.ID(), code, why)
		return
	}
	switch {
	case m.Notification(): // those that there are belong to other transports: a request is cancelled by closing it
		w.WriteHeader(http.StatusAccepted)
		return
	case m.Method == "initialize": // on the bus it would open a session
		g.fail(w, http.StatusNotFound, m.ID(), codeMethodNotFound, "there is no initialize in this protocol version")
		return
	}
	to, err := g.target(r.Context(), at)
	if err != nil {
		g.failed(w, r, m.ID(), err)
		return
	}
	if m.Method == "tools/call" {
		code, why, err := g.params.check(r.Context(), to, r.Header, m)
		if err != nil {
			g.failed(w, r, m.ID(), err)
			return
		}
		if why != "" {
			g.fail(w, http.StatusBadRequest, m.ID(), code, why)
			return
		}
	}
	s, err := g.far.request(r.Context(), to, m.Raw)
	if err != nil {
		g.failed(w, r, m.ID(), err)
		return
	}
	g.relay(w, r, m.ID(), s, kind{modern: true, calls: m.Method != "subscriptions/listen", stream: prefersStream(r)})
}

// checkHeaders tells what in the headers does not say what the body says: those on the way decide by the headers, the server by the body.
func checkHeaders(h http.Header, m wire.Message) (code int, why string) {
	if m.Request() {
		switch version := h.Get(headerVersion); {
		case version == "":
			return codeHeaderMismatch, "the header MCP-Protocol-Version is missing"
		case m.Version == "":
			return codeInvalidParams, "params._meta has no io.modelcontextprotocol/protocolVersion"
		case version != m.Version:
			return codeHeaderMismatch, fmt.Sprintf("the header MCP-Protocol-Version says %.64q, the body %.64q", version, m.Version)
		}
	}
	switch method := h.Get(headerMethod); {
	case method == "":
		return codeHeaderMismatch, "the header Mcp-Method is missing"
	case method != m.Method:
		return codeHeaderMismatch, fmt.Sprintf("the header Mcp-Method says %.64q, the body %.64q", method, m.Method)
	}
	switch m.Method {
	case "tools/call", "prompts/get", "resources/read":
	default:
		return 0, ""
	}
	target, err := m.Target()
	if err != nil {
		return codeInvalidRequest, strings.TrimPrefix(err.Error(), "wire: ")
	}
	name := h.Get(headerName)
	switch text, ok := decodeHeader(name); {
	case name == "" && target == "": // the server says what it thinks of that
	case name == "":
		return codeHeaderMismatch, "the header Mcp-Name is missing"
	case !ok:
		return codeHeaderMismatch, "the header Mcp-Name is no valid base64"
	case text != target:
		return codeHeaderMismatch, fmt.Sprintf("the header Mcp-Name says %.64q, the body %.64q", text, target)
	}
	return 0, ""
}

// decodeHeader reads a value that may be written as =?base64?...?= because a header takes plain ASCII only.
func decodeHeader(value string) (string, bool) {
	inner, ok := strings.CutPrefix(value, "=?base64?")
	if !ok {
		return value, true
	}
	if inner, ok = strings.CutSuffix(inner, "?="); !ok {
		return value, true
	}
	text, err := base64.StdEncoding.Strict().DecodeString(inner)
	return string(text), err == nil
}
