package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// fakeWorld is an MCP server on stdin with a tool whose schema says much, resources of both kinds, and prompts.
func fakeWorld() {
	s := mcp.NewServer(&mcp.Implementation{Name: "world", Version: "1"}, nil)
	s.AddTool(&mcp.Tool{Name: "paint", Description: "Paint a wall.\nWith care.", InputSchema: json.RawMessage(`{"type":"object","properties":{
		"colour":{"type":"string","enum":["red","green"],"description":"of the wall"},
		"coats":{"type":"integer","enum":[1,2],"default":1},
		"dry_time":{"type":"number"},
		"wet":{"type":"boolean"},
		"walls":{"type":"array","items":{"type":"string"}}},"required":["colour"],"additionalProperties":false}`)},
		func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			for i := range 3 {
				token := req.Params.GetProgressToken()
				if token == nil {
					return nil, fmt.Errorf("no progress is wanted")
				}
				if err := req.Session.NotifyProgress(context.Background(), &mcp.ProgressNotificationParams{ProgressToken: token, Progress: float64(i), Total: 3}); err != nil {
					return nil, err
				}
			}
			return say(string(req.Params.Arguments)), nil
		})
	s.AddPrompt(&mcp.Prompt{Name: "greet", Arguments: []*mcp.PromptArgument{{Name: "who", Required: true}, {Name: "how"}}},
		func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hello " + req.Params.Arguments["who"]}}}}, nil
		})
	for uri, contents := range map[string]*mcp.ResourceContents{"world://text": {Text: "one\ntwo"}, "world://blob": {Blob: []byte{0, 1, 2, 255}}} {
		s.AddResource(&mcp.Resource{URI: uri, Name: "it"}, func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			c := *contents
			c.URI = req.Params.URI
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{&c}}, nil
		})
	}
	s.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: "world://{x}/more", Name: "more"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return nil, mcp.ResourceNotFoundError("x")
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
