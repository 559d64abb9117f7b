package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// fetch is an MCP client over HTTP: fetch URL VERSION TOKEN TOOL ARGUMENTS calls a tool and prints the text of its answer.
func fetch() {
	if err := fetchTool(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bearer adds a token to each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b != "" {
		r.Header.Set("Authorization", "Bearer "+string(b))
	}
	return http.DefaultTransport.RoundTrip(r)
}

func fetchTool(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("fetch URL VERSION TOKEN TOOL ARGUMENTS, not %q", args)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := mcp.NewClient(&mcp.Implementation{Name: "fetch", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: args[0], HTTPClient: &http.Client{Transport: bearer(args[2]), Timeout: time.Minute}}
	session, err := c.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: args[1]})
	if err != nil {
		return err
	}
	defer session.Close()
	r, err := session.CallTool(ctx, &mcp.CallToolParams{Name: args[3], Arguments: json.RawMessage(args[4])})
	if err != nil {
		return err
	}
	for _, c := range r.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			fmt.Println(text.Text)
		}
	}
	return nil
}
