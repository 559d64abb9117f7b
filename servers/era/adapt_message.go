package era

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/toolbus/toolbus/servers/wire"
)

// What a modern client and a legacy server say to each other, message by message.

// abilities are what a modern client says that it can be asked.
type abilities struct {
	roots, sample, form, url bool
}

func readAbilities(capabilities json.RawMessage) abilities {
	o := parse(capabilities)
	elicit := o.get("elicitation")
	modes := parse(elicit)
	there := func(raw json.RawMessage) bool { return raw != nil && string(raw) != "null" }
	return abilities{
		roots: there(o.get("roots")), sample: there(o.get("sampling")),
		form: there(elicit) && (there(modes.get("form")) || !there(modes.get("url"))),
		url:  there(modes.get("url")),
	}
}

func (a abilities) any() bool { return a.roots || a.sample || a.form || a.url }

// can tells whether the client may be asked this.
func (a abilities) can(method string, params json.RawMessage) bool {
	switch method {
	case methodRoots:
		return a.roots
	case methodSample:
		return a.sample
	case methodElicit:
		if parse(params).text("mode") == "url" {
			return a.url
		}
		return a.form
	}
	return false
}

// legacyRequest is a modern request as a legacy server is told it: with an id and a progress token of ours, and without what only modern servers
// read.
func legacyRequest(top object, id, token json.RawMessage) json.RawMessage {
	params := parse(top.get("params"))
	meta := parse(params.get("_meta")).without(metaVersion, metaClient, metaCapabilities, metaLevel)
	if token != nil {
		meta = meta.set("progressToken", token)
	}
	params = params.without("inputResponses", "requestState")
	if len(meta) > 0 {
		params = params.set("_meta", meta.raw())
	} else {
		params = params.without("_meta")
	}
	return top.set("id", id).set("params", params.raw()).raw()
}

// modernResponse is a legacy server's response as a modern client reads it.
func (a *Adapter) modernResponse(method string, top object, id json.RawMessage) json.RawMessage {
	top = top.set("id", id)
	if failure := parse(top.get("error")); failure != nil {
		if method == "resources/read" && string(failure.get("code")) == strconv.Itoa(codeNoResource) {
			top = top.set("error", failure.set("code", json.RawMessage(strconv.Itoa(codeParams))).raw())
		}
		return top.raw()
	}
	result := parse(top.get("result"))
	if result == nil {
		return top.raw()
	}
	result = result.lacking("resultType", json.RawMessage(`"complete"`))
	if cacheable(method) {
		result = result.lacking("ttlMs", json.RawMessage("0")).lacking("cacheScope", json.RawMessage(`"private"`))
	}
	return top.set("result", a.signed(result).raw()).raw()
}

// signed adds who the server is, which modern results say each time.
func (a *Adapter) signed(result object) object {
	server := a.said.Load().server
	if server == nil {
		return result
	}
	return result.set("_meta", parse(result.get("_meta")).lacking(metaServer, server).raw())
}

// discover is the answer to server/discover, from what the server has answered to initialize.
func (a *Adapter) discover(id json.RawMessage) json.RawMessage {
	said := a.said.Load()
	versions, _ := json.Marshal(said.versions) // strings always can
	result := object{}.set("resultType", json.RawMessage(`"complete"`)).set("supportedVersions", versions).set("capabilities", said.capabilities)
	if said.instructions != nil {
		result = result.set("instructions", said.instructions)
	}
	result = result.set("ttlMs", json.RawMessage("0")).set("cacheScope", json.RawMessage(`"private"`))
	return response(id, a.signed(result).raw())
}

// response makes a response that has a result.
func response(id, result json.RawMessage) json.RawMessage {
	return object{}.set("jsonrpc", json.RawMessage(`"2.0"`)).set("id", id).set("result", result).raw()
}

// refusal makes an error response.
func refusal(id json.RawMessage, code int, message string) json.RawMessage {
	return (&wire.Error{Code: code, Message: message}).Response(id)
}

// notification makes a notification.
func notification(method string, params json.RawMessage) json.RawMessage {
	return object{}.set("jsonrpc", json.RawMessage(`"2.0"`)).set("method", quote(method)).set("params", params).raw()
}

// request makes a request.
func request(id json.RawMessage, method string, params json.RawMessage) json.RawMessage {
	o := object{}.set("jsonrpc", json.RawMessage(`"2.0"`)).set("id", id).set("method", quote(method))
	if params != nil {
		o = o.set("params", params)
	}
	return o.raw()
}

// checkMeta is the refusal that the specification asks for where a modern request does not say what it must; nil if it does.
func (a *Adapter) checkMeta(m wire.Message, meta object) json.RawMessage {
	if meta.get(metaVersion) == nil {
		return refusal(m.ID(), codeParams, "_meta lacks "+metaVersion)
	}
	if m.Version != ModernVersion {
		supported, _ := json.Marshal(map[string]any{"supported": a.said.Load().versions, "requested": m.Version}) // strings always can
		return (&wire.Error{Code: codeVersion, Message: "unsupported protocol version", Data: supported}).Response(m.ID())
	}
	if !isObject(meta.get(metaCapabilities)) {
		return refusal(m.ID(), codeParams, "_meta lacks "+metaCapabilities)
	}
	if client := meta.get(metaClient); client != nil && !isObject(client) {
		return refusal(m.ID(), codeParams, "_meta has a bad "+metaClient)
	}
	return nil
}

// removed tells whether modern servers do not know a method any more that legacy ones have.
func removed(method string) bool {
	switch method {
	case methodInitialize, methodPing, methodLevel, methodSubscribe, methodUnsubscribe:
		return true
	}
	return false
}

// level is a log level's place in levels, -1 for none.
func level(name string) int {
	for i, l := range levels {
		if strings.EqualFold(l, name) {
			return i
		}
	}
	return -1
}

// validAnswer tells whether an input response has the shape of an answer to that request.
func validAnswer(method string, answer json.RawMessage) bool {
	o := parse(answer)
	switch method {
	case methodElicit:
		action := o.text("action")
		return action == "accept" || action == "decline" || action == "cancel"
	case methodSample:
		return o.get("role") != nil && o.get("content") != nil
	case methodRoots:
		return items(o.get("roots")) != nil
	}
	return o != nil
}
