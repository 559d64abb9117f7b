package bridge

import (
	"encoding/json"
	"fmt"
	"slices"
)

// The protocol versions that the bridge asks for, and the border between the eras.
const (
	modernVersion = "2026-07-28"
	legacyVersion = "2025-11-25"
)

// Era is which of the two protocols that are called MCP a server speaks with the bridge.
type Era string

// The eras.
const (
	Modern Era = "modern" // 2026-07-28 and newer: stateless, no initialize
	Legacy Era = "legacy" // 2025-11-25 and older: sessions
)

// Info is what a server said about itself. The raw members are as they came, nil where the server left them out.
type Info struct {
	Era          Era
	Version      string          // the protocol version of the conversation
	Server       json.RawMessage // serverInfo: name, version, title, icons
	Capabilities json.RawMessage
	Instructions string
	Result       json.RawMessage // the whole result of initialize or server/discover
}

// Groups are the groups that such a server joins by itself: tools, resources and prompts, as far as its capabilities declare them.
func (i Info) Groups() []string {
	var declared map[string]json.RawMessage
	if json.Unmarshal(i.Capabilities, &declared) != nil {
		return nil
	}
	var groups []string
	for _, group := range []string{"tools", "resources", "prompts"} {
		if value, ok := declared[group]; ok && string(value) != "null" {
			groups = append(groups, group)
		}
	}
	return groups
}

// initializeInfo reads the result of initialize.
func initializeInfo(result json.RawMessage) (*Info, error) {
	var r struct {
		ProtocolVersion string          `json:"protocolVersion"`
		Capabilities    json.RawMessage `json:"capabilities"`
		ServerInfo      json.RawMessage `json:"serverInfo"`
		Instructions    string          `json:"instructions"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return nil, fmt.Errorf("result of initialize: %w", err)
	}
	if r.ProtocolVersion == "" {
		return nil, fmt.Errorf("result of initialize: no protocolVersion in %s", clean(string(result), 200))
	}
	return &Info{
		Era: Legacy, Version: r.ProtocolVersion, Server: r.ServerInfo, Capabilities: r.Capabilities, Instructions: r.Instructions, Result: result,
	}, nil
}

// discoverInfo reads the result of server/discover. nil: it is no modern server, or none of a version that is known here.
func discoverInfo(result json.RawMessage) *Info {
	var r struct {
		SupportedVersions []string                   `json:"supportedVersions"`
		Capabilities      json.RawMessage            `json:"capabilities"`
		Instructions      string                     `json:"instructions"`
		Meta              map[string]json.RawMessage `json:"_meta"`
	}
	if json.Unmarshal(result, &r) != nil || !slices.Contains(r.SupportedVersions, modernVersion) {
		return nil
	}
	return &Info{
		Era: Modern, Version: modernVersion, Server: r.Meta["io.modelcontextprotocol/serverInfo"], Capabilities: r.Capabilities,
		Instructions: r.Instructions, Result: result,
	}
}
