package era

import (
	"encoding/json"
	"slices"
)

// The protocol versions that are translated to and from: the newest of each era.
const (
	ModernVersion = "2026-07-28"
	LegacyVersion = "2025-11-25"
)

// legacyVersions are those that a session may be opened with.
var legacyVersions = []string{LegacyVersion, "2025-06-18", "2025-03-26", "2024-11-05"}

// The members of _meta by which a modern request says what a legacy client says once, in initialize.
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaClient       = "io.modelcontextprotocol/clientInfo"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaLevel        = "io.modelcontextprotocol/logLevel"
	metaServer       = "io.modelcontextprotocol/serverInfo"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
)

// The methods that mean something here.
const (
	methodInitialize   = "initialize"
	methodInitialized  = "notifications/initialized"
	methodDiscover     = "server/discover"
	methodListen       = "subscriptions/listen"
	methodAcknowledged = "notifications/subscriptions/acknowledged"
	methodPing         = "ping"
	methodLevel        = "logging/setLevel"
	methodSubscribe    = "resources/subscribe"
	methodUnsubscribe  = "resources/unsubscribe"
	methodCancelled    = "notifications/cancelled"
	methodProgress     = "notifications/progress"
	methodMessage      = "notifications/message"
	methodUpdated      = "notifications/resources/updated"
	methodRoots        = "roots/list"
	methodSample       = "sampling/createMessage"
	methodElicit       = "elicitation/create"
	methodElicited     = "notifications/elicitation/complete"
	methodRootsChanged = "notifications/roots/list_changed"
)

// The errors of the protocol that are given here.
const (
	codeInvalid    = -32600
	codeNoMethod   = -32601
	codeParams     = -32602
	codeInternal   = -32603
	codeVersion    = -32022
	codeNoResource = -32002 // of legacy servers; modern ones say codeParams
)

// asking tells whether a request of this method may have to ask the client something before it can be answered.
func asking(method string) bool {
	return method == "tools/call" || method == "prompts/get" || method == "resources/read"
}

// cacheable tells whether a modern result of this method says how long it may be kept.
func cacheable(method string) bool {
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", methodDiscover:
		return true
	}
	return false
}

// levels are the log levels, the least urgent first.
var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// Both tells whether the result of a server/discover lists a legacy version beside the modern ones: then the server needs no translation.
func Both(discover json.RawMessage) bool {
	var r struct {
		SupportedVersions []string `json:"supportedVersions"`
	}
	if json.Unmarshal(discover, &r) != nil {
		return false
	}
	return slices.ContainsFunc(r.SupportedVersions, func(v string) bool { return v < ModernVersion })
}
