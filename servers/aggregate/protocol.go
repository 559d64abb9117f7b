package aggregate

import (
	"encoding/json"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// Codes of JSON-RPC and MCP that an endpoint gives itself.
const (
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeVersion        = -32022
	codeNoResource     = -32002
)

// self is what the endpoint says it is.
const self = `{"name":"toolbus","version":"` + wire.Version + `"}`

// The members of _meta that an endpoint writes.
const (
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
	modernMeta       = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + servers.ModernVersion +
		`","io.modelcontextprotocol/clientInfo":` + self + `,"io.modelcontextprotocol/clientCapabilities":{}}`
	modernResult = `"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":` + self + `}`
)

// capabilities are the endpoint's, whatever servers there are at the moment: a legacy client is told once, and servers come later.
const capabilities = `{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}}`

// legacyVersions are the versions of the legacy protocol, the newest first. What differs between them is between the client and the servers.
var legacyVersions = [...]string{servers.LegacyVersion, "2025-06-18", "2025-03-26", "2024-11-05"}

// negotiated is the version that a legacy client gets who asks for one.
func negotiated(asked string) string {
	for _, v := range legacyVersions {
		if v == asked {
			return v
		}
	}
	return servers.LegacyVersion
}

// initialized is the result of initialize.
func initialized(version, instructions string) json.RawMessage {
	return json.RawMessage(`{"protocolVersion":"` + version + `","capabilities":` + capabilities + `,"serverInfo":` + self + said(instructions) + `}`)
}

// discovered is the result of server/discover.
func discovered(instructions string) json.RawMessage {
	return json.RawMessage(`{"supportedVersions":["` + servers.ModernVersion + `"],"capabilities":` + capabilities + said(instructions) + `,` + modernResult + `}`)
}

func said(instructions string) string {
	if instructions == "" {
		return ""
	}
	return `,"instructions":` + string(quote(instructions))
}
