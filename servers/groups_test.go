package servers_test

import (
	"context"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers"
)

// A server joins and leaves tools, resources and prompts as what it offers changes, and nobody has to say so.
func TestGroupsFollowTheCapabilities(t *testing.T) {
	node := bustest.Node(t, nil)
	here := newProcess(t, node)
	server := mcp.NewServer(&mcp.Implementation{Name: "grows"}, nil)
	serving, err := here.host(t).Serve(t.Context(), "grows", server, &servers.ServeOptions{Groups: []string{"math"}})
	if err != nil {
		t.Fatal(err)
	}
	isIn := func(want ...string) {
		t.Helper()
		bustest.Eventually(t, "the groups have followed", func() bool {
			r, err := here.reg.Describe("grows")
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(r.Groups)
			ours := serving.Groups()
			slices.Sort(ours)
			return slices.Equal(r.Groups, want) && slices.Equal(ours, want)
		})
	}
	isIn("math")
	server.AddPrompt(&mcp.Prompt{Name: "p"}, nil)
	isIn("math", "prompts")
	session := connect(t, client(nil), &servers.Transport{Conn: here.conn, Group: "prompts"}, modern)
	if r, err := session.ListPrompts(t.Context(), nil); err != nil || len(r.Prompts) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	mcp.AddTool(server, &mcp.Tool{Name: "t"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, nil
	})
	isIn("math", "prompts", "tools")
	token := serving.Record().Token
	server.RemovePrompts("p")
	isIn("math", "tools")
	if _, err := session.ListPrompts(bustest.Context(t), nil); err == nil {
		t.Error("it answers for a group that it has left")
	}
	if serving.Record().Token != token {
		t.Error("the token has changed with the groups")
	}
}

// A change that leaves the groups and what is shown as they are costs the registry nothing.
func TestRefreshWritesOnlyWhatChanged(t *testing.T) {
	node := bustest.Node(t, nil)
	here := newProcess(t, node)
	server := calculator("one")
	serving, err := here.host(t).Serve(t.Context(), "calculator", server, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := serving.Record().Revision
	for range 3 {
		if err := serving.Refresh(bustest.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	if after := serving.Record().Revision; after != before {
		t.Errorf("the record was written: revision %d, then %d", before, after)
	}
}

// A server that speaks no legacy protocol tells nobody of its changes; a Refresh finds them.
func TestModernOnlyServerIsRefreshedByHand(t *testing.T) {
	node := bustest.Node(t, nil)
	here := newProcess(t, node)
	server := mcp.NewServer(&mcp.Implementation{Name: "new"}, &mcp.ServerOptions{SupportedProtocolVersions: []string{modern}})
	serving, err := here.host(t).Serve(t.Context(), "new", server, nil)
	if err != nil {
		t.Fatal(err)
	}
	server.AddPrompt(&mcp.Prompt{Name: "p"}, nil)
	if err := serving.Refresh(bustest.Context(t)); err != nil {
		t.Fatal(err)
	}
	if r, err := here.reg.Describe("new"); err != nil || !slices.Equal(r.Groups, []string{"prompts"}) {
		t.Errorf("%+v, %v", r, err)
	}
}
