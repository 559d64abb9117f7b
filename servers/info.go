package servers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// A record of the registry is one small line. So are these bounds, in bytes.
const (
	maxMetadata     = 4096 // of one raw member: a longer one is left out
	maxInstructions = 500  // of the instructions: the rest is cut off
)

// Info is what a server said about itself. The two protocols tell the same few facts in different places; here they have one, so that a server hosted
// in Go and one bridged from stdio are shown alike. The raw members are as they came, nil where the server left them out.
type Info struct {
	Era          Era
	Version      string          // the protocol version of the conversation
	Server       json.RawMessage // serverInfo: name, version, title, icons
	Capabilities json.RawMessage
	Instructions string
	Result       json.RawMessage   // the whole result of initialize or server/discover
	Extra        map[string]string // further metadata, of whoever runs the server
}

// kinds are the groups that follow from what a server declares.
var kinds = []string{"tools", "resources", "prompts"}

// Groups are the groups that such a server joins by itself: tools, resources and prompts, as far as its capabilities declare them.
func (i Info) Groups() []string {
	var declared map[string]json.RawMessage
	if json.Unmarshal(i.Capabilities, &declared) != nil {
		return nil
	}
	var groups []string
	for _, group := range kinds {
		if value, ok := declared[group]; ok && string(value) != "null" {
			groups = append(groups, group)
		}
	}
	return groups
}

// Metadata is what a registration says about the server. What it did not say has no key.
func (i Info) Metadata() map[string]string {
	m := map[string]string{MetaVersion: i.Version, MetaEra: string(i.Era), MetaInstructions: beginning(i.Instructions)}
	for key, raw := range map[string]json.RawMessage{MetaServer: i.Server, MetaCapabilities: i.Capabilities} {
		var line bytes.Buffer
		if len(raw) <= maxMetadata && json.Compact(&line, raw) == nil {
			m[key] = line.String()
		}
	}
	maps.Copy(m, i.Extra)
	maps.DeleteFunc(m, func(_, value string) bool { return value == "" })
	return m
}

// beginning cuts a text off between two letters.
func beginning(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "?"))
	if len(text) <= maxInstructions {
		return text
	}
	end := maxInstructions
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// ReadInitialize reads the result of initialize.
func ReadInitialize(result json.RawMessage) (Info, error) {
	var r struct {
		ProtocolVersion string          `json:"protocolVersion"`
		Capabilities    json.RawMessage `json:"capabilities"`
		ServerInfo      json.RawMessage `json:"serverInfo"`
		Instructions    string          `json:"instructions"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return Info{}, fmt.Errorf("servers: result of initialize: %w", err)
	}
	if r.ProtocolVersion == "" {
		return Info{}, fmt.Errorf("servers: result of initialize: no protocolVersion in %.200q", result)
	}
	return Info{
		Era: Legacy, Version: r.ProtocolVersion, Server: r.ServerInfo, Capabilities: r.Capabilities, Instructions: r.Instructions, Result: result,
	}, nil
}

// ReadDiscover reads the result of server/discover. False: it is no modern server, or none of a version that is known here.
func ReadDiscover(result json.RawMessage) (Info, bool) {
	var r struct {
		SupportedVersions []string                   `json:"supportedVersions"`
		Capabilities      json.RawMessage            `json:"capabilities"`
		Instructions      string                     `json:"instructions"`
		Meta              map[string]json.RawMessage `json:"_meta"`
	}
	if json.Unmarshal(result, &r) != nil || !slices.Contains(r.SupportedVersions, ModernVersion) {
		return Info{}, false
	}
	return Info{
		Era: Modern, Version: ModernVersion, Server: r.Meta["io.modelcontextprotocol/serverInfo"], Capabilities: r.Capabilities,
		Instructions: r.Instructions, Result: result,
	}, true
}
