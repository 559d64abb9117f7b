package registry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus"
	"github.com/toolbus/toolbus/kvstore"
	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// syn:update_member/4: one write, and the member keeps its place.
func ExampleMembership_Update() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	m := must(one.Join(ctx, "tools", &registry.JoinOptions{Metadata: map[string]string{registry.LoadKey: "1"}}))
	m.Update(ctx, func(metadata map[string]string) { metadata[registry.LoadKey] = "7" })
	fmt.Println(must(reg.Members("tools"))[0].Metadata[registry.LoadKey])
	// Output: 7
}

// syn:member_count/2.
func ExampleRegistry_MemberCount() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "tools", nil)
	other.Join(ctx, "tools", nil)
	fmt.Println(reg.MemberCount("tools"))
	// Output: 2 <nil>
}

// syn:is_member/3: the groups that an instance is in.
func ExampleRegistry_GroupsOf() {
	ctx := context.Background()
	reg, one, _ := two(ctx)
	defer reg.Close(ctx)
	one.Join(ctx, "tools", &registry.JoinOptions{Instance: "i"})
	one.Join(ctx, "prompts", &registry.JoinOptions{Instance: "i"})
	fmt.Println(reg.GroupsOf("i"), reg.GroupsOf("j"))
	// Output: [prompts tools] []
}

// Several instances of one server behind one name: who says the same digest serves it too, another is told no.
func ExampleSession_Register_shared() {
	ctx := context.Background()
	reg, one, other := two(ctx)
	defer reg.Close(ctx)
	same := &registry.RegisterOptions{Digest: "sha256-1"}
	must(one.Register(ctx, "calculator", same))
	must(other.Register(ctx, "calculator", same))
	fmt.Println("serve it:", len(must(reg.Replicas("calculator"))))

	third := must(reg.NewSession(ctx, nil))
	_, err := third.Register(ctx, "calculator", &registry.RegisterOptions{Digest: "sha256-2"})
	fmt.Println("another one is told no:", errors.Is(err, registry.ErrNameTaken))
	one.Close(ctx) // or dies
	fmt.Println("still there:", reg.Names())
	// Output:
	// serve it: 2
	// another one is told no: true
	// still there: [calculator]
}

// onBus starts a node in this process, a connection and a registry on it.
func onBus(ctx context.Context) (*bus.Conn, *registry.Registry, func()) {
	node := must(bus.StartNode(ctx, nil))
	conn := must(node.Connect(ctx, nil))
	store := must(kvstore.OpenJetStream(ctx, conn.NATS(), "default", nil))
	reg := must(registry.Open(ctx, store, &registry.Options{Peers: conn}))
	return conn, reg, func() {
		reg.Close(ctx)
		conn.Close()
		node.Close()
	}
}

// gen_server:call({global, Name}, Request) and {via, syn, Name}: the subject is the address, so a call looks nothing up. Of several who
// answer in one queue group one gets it.
func Example_call() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, _, stop := onBus(ctx)
	defer stop()
	for range 2 {
		must(conn.Handle("example.calculator", "calculators", func(_ context.Context, m *bus.Message) { m.Respond([]byte("8")) }, nil))
	}
	conn.Flush(ctx)

	answer, err := conn.Request(ctx, "example.calculator", []byte("5+3"))
	fmt.Println(string(answer), err)
	_, err = conn.Request(ctx, "example.nobody", nil)
	none, ok := errors.AsType[interface {
		error
		NoResponders() bool
	}](err)
	fmt.Println("nobody is there:", ok && none.NoResponders())
	// Output:
	// 8 <nil>
	// nobody is there: true
}

// syn:publish/3 and gproc_ps:publish/3: to everybody who listens on a subject now.
func Example_publish() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, _, stop := onBus(ctx)
	defer stop()
	heard := make(chan string, 2)
	for range 2 {
		end := must(conn.Subscribe("example.news", func(data []byte) []byte { heard <- string(data); return nil }))
		defer end()
	}
	conn.Flush(ctx)

	conn.Publish("example.news", []byte("hello"))
	fmt.Println(<-heard, <-heard)
	// Output: hello hello
}

// sum is what the tool takes.
type sum struct {
	A int `json:"a"`
	B int `json:"b"`
}

// The founding document's start_mcp_server, list_servers and stop_mcp_server.
func Example_mcpServer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, reg, stop := onBus(ctx)
	defer stop()
	server := mcp.NewServer(&mcp.Implementation{Name: "calculator", Version: "v1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in sum) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(in.A + in.B)}}}, nil, nil
	})
	host := servers.NewHost(conn, reg, nil)
	defer host.Close()

	must(host.Start(ctx, servers.Tool, "calculator", server))
	for _, record := range servers.List(reg) {
		fmt.Println(record.Name, record.Groups)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "example", Version: "v1"}, nil)
	session := must(client.Connect(ctx, &servers.Transport{Conn: conn, Registry: reg, Name: "calculator"}, nil))
	result := must(session.CallTool(ctx, &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 5, "b": 3}}))
	fmt.Println(result.Content[0].(*mcp.TextContent).Text)
	session.Close()
	fmt.Println(host.Stop(ctx, "calculator"), len(servers.List(reg)))
	// Output:
	// calculator [tools]
	// 8
	// <nil> 0
}
