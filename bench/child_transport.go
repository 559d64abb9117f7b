package bench

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/exec"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// EchoWord is the command of a program whose processes end in EchoMain.
const EchoWord = "bench-echo"

// EchoMain serves the echo on stdin and stdout, as any MCP server on stdio does, and returns the exit status.
func EchoMain(ctx context.Context) int {
	if err := EchoServer().Run(ctx, &mcp.StdioTransport{}); err != nil && ctx.Err() == nil {
		return 1
	}
	return 0
}

// connectClient opens a session over a transport; calls go through it from then on.
func (c *child) connectClient(ctx context.Context, t mcp.Transport) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "v1"}, nil)
	session, err := client.Connect(ctx, t, nil)
	if err != nil {
		return err
	}
	c.client = &caller{session}
	return nil
}

// memory connects to an echo in this process.
func (c *child) memory(ctx context.Context, _ Request) (Reply, error) {
	here, there := mcp.NewInMemoryTransports()
	if _, err := EchoServer().Connect(ctx, there, nil); err != nil {
		return Reply{}, err
	}
	return Reply{}, c.connectClient(ctx, here)
}

// stdio starts a command and connects to it.
func (c *child) stdio(ctx context.Context, r Request) (Reply, error) {
	if len(r.Command) == 0 {
		return Reply{}, errors.New("no command")
	}
	cmd := exec.Command(r.Command[0], r.Command[1:]...)
	if err := c.connectClient(ctx, &mcp.CommandTransport{Command: cmd}); err != nil {
		return Reply{}, err
	}
	return Reply{PID: cmd.Process.Pid}, nil
}

// listen serves the echo over Streamable HTTP.
func (c *child) listen(context.Context, Request) (Reply, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Reply{}, err
	}
	echo := EchoServer()
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return echo }, &mcp.StreamableHTTPOptions{MaxRequestBodyBytes: 64 << 20})
	go func() { _ = http.Serve(l, handler) }() // it ends with the process
	return Reply{URL: "http://" + l.Addr().String()}, nil
}

// http connects to an address.
func (c *child) http(ctx context.Context, r Request) (Reply, error) {
	return Reply{}, c.connectClient(ctx, &mcp.StreamableClientTransport{Endpoint: r.URL})
}
