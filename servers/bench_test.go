package servers_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers"
)

// BenchmarkCall is one tools/call with a 64-byte argument, beside what it is made of: a raw NATS request, and the SDK without a bus.
func BenchmarkCall(b *testing.B) {
	node := bustest.Node(b, nil)
	here, there := newProcess(b, node), newProcess(b, node)
	server := mcp.NewServer(&mcp.Implementation{Name: "echo"}, nil)
	server.AddTool(&mcp.Tool{Name: "echo", InputSchema: map[string]any{"type": "object"}}, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(req.Params.Arguments)}}}, nil
	})
	if _, err := here.host(b).Serve(b.Context(), "echo", server, nil); err != nil {
		b.Fatal(err)
	}
	if _, err := here.conn.NATS().Subscribe("raw.echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		b.Fatal(err)
	}
	if err := here.conn.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 64)
	for i := range payload {
		payload[i] = 'x'
	}
	one := func(session *mcp.ClientSession) func() error {
		return func() error {
			_, err := session.CallTool(b.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]string{"text": string(payload)}})
			return err
		}
	}
	inMemory := func(b *testing.B, version string) func() error {
		c, s := mcp.NewInMemoryTransports()
		if _, err := server.Connect(b.Context(), s, nil); err != nil {
			b.Fatal(err)
		}
		return one(connect(b, client(nil), c, version))
	}
	over := func(b *testing.B, version string) func() error {
		return one(connect(b, client(nil), &servers.Transport{Conn: there.conn, Name: "echo"}, version))
	}
	for _, path := range []struct {
		name string
		call func(b *testing.B) func() error
	}{
		{"raw-nats", func(*testing.B) func() error {
			return func() error { _, err := there.conn.NATS().Request("raw.echo", payload, 10*time.Second); return err }
		}},
		{"memory/legacy", func(b *testing.B) func() error { return inMemory(b, legacy) }},
		{"memory/modern", func(b *testing.B) func() error { return inMemory(b, modern) }},
		{"bus/legacy", func(b *testing.B) func() error { return over(b, legacy) }},
		{"bus/modern", func(b *testing.B) func() error { return over(b, modern) }},
	} {
		for _, c := range []int{1, 64} {
			b.Run(fmt.Sprintf("path=%s/c=%d", path.name, c), func(b *testing.B) {
				call := path.call(b)
				b.ReportAllocs()
				b.ResetTimer()
				var work sync.WaitGroup
				each := b.N/c + 1
				for range c {
					work.Go(func() {
						for range each {
							if err := call(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				work.Wait()
				b.ReportMetric(float64(each*c)/b.Elapsed().Seconds(), "calls/s")
			})
		}
	}
}
