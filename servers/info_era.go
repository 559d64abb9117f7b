package servers

import "github.com/toolbus/toolbus/servers/era"

// Era is which of the two protocols that are called MCP a server speaks.
type Era string

// The eras.
const (
	Modern Era = "modern" // 2026-07-28 and newer: stateless, no initialize
	Legacy Era = "legacy" // 2025-11-25 and older: sessions
)

// The protocol versions that toolbus asks for: the newest of each era.
const (
	ModernVersion = era.ModernVersion
	LegacyVersion = era.LegacyVersion
)

// The keys of a server's metadata in the registry. The values come from the server: JSON on one line as it gave it, or text.
const (
	MetaServer       = "mcp.serverInfo"
	MetaCapabilities = "mcp.capabilities"
	MetaVersion      = "mcp.protocolVersion"
	MetaEra          = "mcp.era"
	MetaInstructions = "mcp.instructions" // the beginning
)
