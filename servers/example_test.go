package servers_test

import (
	"context"
	"fmt"
	"log"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// A node in this process, and a registry on it.
func start(ctx context.Context) (*bus.Node, *bus.Conn, *registry.Registry) {
	node, err := bus.StartNode(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := node.Connect(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	store, err := kvstore.OpenJetStream(ctx, conn.NATS(), "default", nil)
	if err != nil {
		log.Fatal(err)
	}
	reg, err := registry.Open(ctx, store, &registry.Options{Peers: conn})
	if err != nil {
		log.Fatal(err)
	}
	return node, conn, reg
}

func ExampleHost() {
	ctx := context.Background()
	node, conn, reg := start(ctx)
	defer node.Close()
	defer conn.Close()
	defer reg.Close(ctx)

	server := mcp.NewServer(&mcp.Implementation{Name: "calculator", Version: "v1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct{ A, B int }) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(in.A + in.B)}}}, nil, nil
	})
	host := servers.NewHost(conn, reg, nil)
	defer host.Close()
	if _, err := host.Serve(ctx, "calculator", server, &servers.ServeOptions{Groups: []string{"math"}}); err != nil {
		log.Fatal(err)
	}
	for _, record := range servers.List(reg) {
		fmt.Println(record.Name, record.Groups)
	}
	_, err := host.Serve(ctx, "calculator", server, nil)
	fmt.Println(err != nil)
	// Output:
	// calculator [math tools]
	// true
}

func ExampleTransport() {
	ctx := context.Background()
	node, conn, reg := start(ctx)
	defer node.Close()
	defer conn.Close()
	defer reg.Close(ctx)
	host := servers.NewHost(conn, reg, nil)
	defer host.Close()
	if _, err := host.Start(ctx, servers.Tool, "calculator", calculator("here")); err != nil {
		log.Fatal(err)
	}

	client := mcp.NewClient(&mcp.Implementation{Name: "example", Version: "v1"}, nil)
	session, err := client.Connect(ctx, &servers.Transport{Conn: conn, Registry: reg, Name: "calculator"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 5, "b": 3}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Content[0].(*mcp.TextContent).Text)

	_, err = client.Connect(ctx, &servers.Transport{Conn: conn, Registry: reg, Name: "calculater"}, nil)
	fmt.Println(servers.Failed(err))
	// Output:
	// {"sum":8}
	// wire: no server is registered as calculater
}
