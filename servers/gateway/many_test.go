package gateway_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers/gateway"
)

// TestManyServersBehindOneURL reaches the tools of two servers by /mcp and by their group.
func TestManyServersBehindOneURL(t *testing.T) {
	p := newPlace(t)
	p.serve(t, "one", newProbe().Server)
	p.serve(t, "team.two", newProbe().Server)
	g := p.gateway(t, &gateway.Options{})
	for _, version := range versions {
		for _, path := range []string{"/mcp", "/g/tools/mcp"} {
			session := connect(t, g.http.URL+path, version, nil)
			bustest.Eventually(t, "both servers are listed", func() bool {
				var names []string
				for tool, err := range session.Tools(bustest.Context(t), nil) {
					if err != nil {
						t.Fatal(err)
					}
					names = append(names, tool.Name)
				}
				for _, name := range names {
					if strings.Contains(name, "gateway") {
						t.Fatalf("the endpoint lists itself: %q", names)
					}
				}
				return slices.Contains(names, "one__echo") && slices.Contains(names, "team_two__echo")
			})
			if got := call(t, session, "team_two__echo", map[string]string{"text": "hi"}); got != "hi" {
				t.Errorf("%s %s: %q", version, path, got)
			}
		}
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "v1"}, nil)
	_, err := c.Connect(bustest.Context(t), &mcp.StreamableClientTransport{Endpoint: g.http.URL + "/g/nothing/mcp"}, nil)
	if err == nil || !strings.Contains(err.Error(), "no server is in group nothing") {
		t.Errorf("an empty group: %v", err)
	}
}
