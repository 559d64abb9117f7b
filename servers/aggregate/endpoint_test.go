//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package aggregate_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/aggregate"
)

// TestClientsOfBothErasReachAllServers: two servers of both eras, one that is legacy only.
func TestClientsOfBothErasReachAllServers(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	p.serve(t, "a", toolbox("a", nil))
	p.serve(t, "team.b", toolbox("b", nil))
	p.serve(t, "old", toolbox("old", &mcp.ServerOptions{SupportedProtocolVersions: []string{servers.LegacyVersion}}))
	aggregated(t, p, nil)
	for era, version := range eras {
		t.Run(era, func(t *testing.T) {
			ctx := bustest.Context(t)
			heard := &words{}
			session := client(t, p, version, heard)
			if got := session.InitializeResult(); got.ProtocolVersion != version || !strings.Contains(got.Instructions, "team.b: I am b") {
				t.Errorf("%+v", got)
			}
			names := toolNames(t, session)
			for _, server := range []string{"a", "team_b", "old"} {
				if n := len(with(names, server)); n != 7 {
					t.Errorf("%d tools of %s: %q", n, server, names)
				}
			}
			if slices.ContainsFunc(names, func(n string) bool { return strings.ContainsAny(n, ".") || len(n) > 64 }) || len(names) != 21 {
				t.Errorf("%q", names)
			}
			for server, who := range map[string]string{"a": "a", "team_b": "b", "old": "old"} {
				if era == "modern" && who == "old" {
					continue // an instance adapts that, not the endpoint
				}
				if got := call(t, session, server+"__who", nil); got != who {
					t.Errorf("%s__who is %s", server, got)
				}
				add := names[slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, server+"__math_add_") })]
				if got := call(t, session, add, addArgs{40, 2}); got != "42" {
					t.Errorf("%s: %s", add, got)
				}
				params := &mcp.CallToolParams{Name: server + "__report"}
				params.SetProgressToken("same token for all")
				if _, err := session.CallTool(ctx, params); err != nil {
					t.Error(err)
				}
				eventually(t, "progress of "+who, func() bool { return heard.count("progress "+who) == 3 })
				prompt, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: server + "__greet"})
				if err != nil || prompt.Description != who+" greets" {
					t.Errorf("%+v, %v", prompt, err)
				}
				for ref, want := range map[mcp.CompleteReference]string{
					{Type: "ref/prompt", Name: server + "__greet"}:       who + " completes greet",
					{Type: "ref/resource", URI: "db-" + who + "://{id}"}: who + " completes db-" + who + "://{id}",
				} {
					r, err := session.Complete(ctx, &mcp.CompleteParams{Ref: &ref, Argument: mcp.CompleteParamsArgument{Name: "n", Value: "v"}})
					if err != nil || !slices.Equal(r.Completion.Values, []string{want}) {
						t.Errorf("%+v: %+v, %v", ref, r, err)
					}
				}
				if got := call(t, session, server+"__name", nil); got != who+" asked for "+who {
					t.Errorf("%s__name: %s", server, got)
				}
			}
			_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "a__none"})
			if err == nil || !strings.Contains(err.Error(), "no such tool") {
				t.Errorf("a tool that is none: %v", err)
			}
			if _, err := session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "greet"}); err == nil {
				t.Error("a prompt without a server was found")
			}
		})
	}
}

func TestResourcesHaveTheirURIs(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	p.serve(t, "a", toolbox("a", nil))
	servers.NewHost(p.conn, p.reg, nil)
	p.serve(t, "team.b", toolbox("b", nil))
	hidden := toolbox("hidden", nil)
	hidden.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if read, ok := req.(*mcp.ReadResourceRequest); ok && read.Params.URI == "made-up://1" {
				return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "made-up://1", Text: "found"}}}, nil
			}
			return next(ctx, method, req)
		}
	})
	hidden.RemoveResources("file:///readme")
	p.serve(t, "hidden", hidden)
	aggregated(t, p, nil)
	for era, version := range eras {
		t.Run(era, func(t *testing.T) {
			ctx := bustest.Context(t)
			session := client(t, p, version, nil)
			var uris []string
			for r, err := range session.Resources(ctx, nil) {
				if err != nil {
					t.Fatal(err)
				}
				uris = append(uris, r.URI)
			}
			if want := []string{"mcp+a:file:///readme", "mcp+team.b:file:///readme", "own://a", "own://b", "own://hidden"}; !slices.Equal(uris, want) {
				t.Errorf("%q", uris)
			}
			for uri, want := range map[string]string{
				"own://a":                   "a has own://a",
				"own://b":                   "b has own://b",
				"mcp+a:file:///readme":      "a has file:///readme",
				"mcp+team.b:file:///readme": "b has file:///readme",
				"file:///readme":            "a has file:///readme",
				"db-b://7":                  "b has db-b://7",
				"made-up://1":               "found",
			} {
				r, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
				if err != nil {
					t.Errorf("%s: %v", uri, err)
					continue
				}
				shown := uri
				if strings.HasSuffix(uri, "file:///readme") {
					shown = "mcp+" + map[bool]string{true: "team.b", false: "a"}[strings.Contains(uri, ".b")] + ":file:///readme"
				}
				if c := r.Contents[0]; c.Text != want || c.URI != shown {
					t.Errorf("%s: %+v", uri, c)
				}
			}
			if _, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: "nowhere://"}); err == nil || !strings.Contains(strings.ToLower(err.Error()), "not found") {
				t.Errorf("a resource that is nowhere: %v", err)
			}
		})
	}
}

// TestServersAskTheirClient: two servers at once, which give their questions the same ids.
func TestServersAskTheirClient(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	p.serve(t, "a", toolbox("a", nil))
	p.serve(t, "b", toolbox("b", nil))
	aggregated(t, p, nil)
	heard := &words{}
	session := client(t, p, servers.LegacyVersion, heard)
	answers := make(chan string)
	for _, who := range []string{"a", "b", "a", "b", "a", "b"} {
		go func() { answers <- who + ": " + call(t, session, who+"__sample", nil) }()
	}
	for range 6 {
		if got := <-answers; got != got[:1]+": sampled for "+got[:1]+" at file:///root" {
			t.Error(got)
		}
	}
	call(t, session, "a__log", nil)
	if err := session.SetLoggingLevel(bustest.Context(t), &mcp.SetLoggingLevelParams{Level: "debug"}); err != nil {
		t.Fatal(err)
	}
	p.serve(t, "c", toolbox("c", nil)) // its session opens after the level was set
	eventually(t, "c's tools", func() bool { return len(with(toolNames(t, session), "c")) > 0 })
	for _, who := range []string{"b", "c"} {
		eventually(t, "log of "+who, func() bool {
			call(t, session, who+"__log", nil) // the level may be on its way to it
			return heard.has("log " + who)
		})
	}
	if heard.has("log a") {
		t.Error("a logged before a level was set")
	}
}

func TestACancelledCallIsCancelledAtItsServer(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	p.serve(t, "a", toolbox("a", nil))
	aggregated(t, p, nil)
	for era, version := range eras {
		heard := &words{}
		session := client(t, p, version, heard)
		before := ended.count("a")
		ctx, cancel := context.WithCancel(bustest.Context(t))
		params := &mcp.CallToolParams{Name: "a__hang"}
		params.SetProgressToken(1)
		done := make(chan error, 1)
		go func() { _, err := session.CallTool(ctx, params); done <- err }()
		eventually(t, era+": the call hangs", func() bool { return heard.has("progress hangs") })
		cancel()
		if err := <-done; err == nil {
			t.Errorf("%s: a cancelled call succeeded", era)
		}
		eventually(t, era+": it is cancelled", func() bool { return ended.count("a") > before })
	}
}

func TestListsHavePages(t *testing.T) {
	node := bustest.Node(t, nil)
	p := newProcess(t, node)
	p.serve(t, "a", toolbox("a", &mcp.ServerOptions{PageSize: 2}))
	p.serve(t, "b", toolbox("b", nil))
	aggregated(t, p, &aggregate.Options{PageSize: 3})
	for _, version := range eras {
		session := client(t, p, version, nil)
		if names := toolNames(t, session); len(names) != 14 || len(with(names, "a")) != 7 {
			t.Errorf("%q", names)
		}
		r, err := session.ListTools(bustest.Context(t), nil)
		if err != nil || len(r.Tools) != 3 || r.NextCursor == "" {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := session.ListTools(bustest.Context(t), &mcp.ListToolsParams{Cursor: "?"}); err == nil {
			t.Error("a cursor that is none was taken")
		}
	}
}
