package servers_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/toolbus/toolbus/servers"
)

// Both eras say the same, in other places.
func TestInfoOfBothEras(t *testing.T) {
	legacy, err := servers.ReadInitialize(json.RawMessage(`{"protocolVersion":"2024-11-05","capabilities":{"tools":{},"prompts":null,"resources":{"x":1}},
		"serverInfo":{"name": "s"},"instructions":" say\nsomething "}`))
	if err != nil {
		t.Fatal(err)
	}
	modern, ok := servers.ReadDiscover(json.RawMessage(`{"supportedVersions":["2026-07-28","2027-01-01"],"capabilities":{"tools":{},"prompts":null,
		"resources":{"x":1}},"instructions":" say\nsomething ","_meta":{"io.modelcontextprotocol/serverInfo":{"name": "s"}}}`))
	if !ok {
		t.Fatal("a modern server was not understood")
	}
	for _, c := range []struct {
		info         servers.Info
		era, version string
	}{{legacy, "legacy", "2024-11-05"}, {modern, "modern", "2026-07-28"}} {
		m := c.info.Metadata()
		if m[servers.MetaEra] != c.era || m[servers.MetaVersion] != c.version || m[servers.MetaServer] != `{"name":"s"}` ||
			m[servers.MetaInstructions] != "say\nsomething" || m[servers.MetaCapabilities] != `{"tools":{},"prompts":null,"resources":{"x":1}}` {
			t.Errorf("%s: %q", c.era, m)
		}
		if got := c.info.Groups(); !slices.Equal(got, []string{"tools", "resources"}) {
			t.Errorf("%s: groups %q", c.era, got)
		}
	}
}

func TestMetadataIsBounded(t *testing.T) {
	long := json.RawMessage(`{"name":"` + strings.Repeat("x", 5000) + `"}`)
	m := servers.Info{Server: long, Instructions: strings.Repeat("é", 400)}.Metadata()
	if _, ok := m[servers.MetaServer]; ok {
		t.Error("an oversize member is shown")
	}
	if got := m[servers.MetaInstructions]; len(got) > 503 || len(got) < 490 || !utf8.ValidString(got) || !strings.HasSuffix(got, "é...") {
		t.Errorf("instructions %q", got)
	}
	if _, ok := m[servers.MetaVersion]; ok {
		t.Error("what was not said is shown")
	}
}

func TestWhatIsNoInfo(t *testing.T) {
	for _, result := range []string{`{}`, `[]`, `{"supportedVersions":["2025-11-25"]}`, `{"supportedVersions":"2026-07-28"}`} {
		if info, ok := servers.ReadDiscover(json.RawMessage(result)); ok {
			t.Errorf("%s: %+v", result, info)
		}
		if info, err := servers.ReadInitialize(json.RawMessage(result)); err == nil {
			t.Errorf("%s: %+v", result, info)
		}
	}
}
