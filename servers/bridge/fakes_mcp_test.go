//go:build unix

//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers/wire"
)

// The fakes that speak MCP: one by the official SDK, the others by hand.
func init() {
	fakes["echo"] = fakeEcho
	fakes["hand"] = fakeHand
}

// fakeEcho is a server of the official SDK, with a tool that answers, one that asks back, and one that blocks. Its arguments are the
// protocol versions that it is limited to.
func fakeEcho(versions []string) int {
	if seen := os.Getenv("SEEN"); seen != "" {
		mark(seen)
	}
	if err := newEcho(versions).Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// newEcho is that server.
func newEcho(versions []string) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "v1"}, &mcp.ServerOptions{
		Instructions: "say something", SupportedProtocolVersions: versions,
	})
	type text struct {
		Text string `json:"text"`
	}
	say := func(s string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
	}
	mcp.AddTool(server, &mcp.Tool{Name: "echo"}, func(ctx context.Context, req *mcp.CallToolRequest, in text) (*mcp.CallToolResult, any, error) {
		if token := req.Params.GetProgressToken(); token != nil {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Message: in.Text, Progress: 1})
		}
		return say(in.Text), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "pid"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return say(fmt.Sprint(os.Getpid())), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "block"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		if token := req.Params.GetProgressToken(); token != nil {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1})
		}
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	mcp.AddTool(server, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, in text) (*mcp.CallToolResult, any, error) {
		sampled, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{
			MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: in.Text}}},
		})
		if err != nil {
			return nil, nil, err
		}
		elicited, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "sure?"})
		if err != nil {
			return nil, nil, err
		}
		return say(sampled.Content.(*mcp.TextContent).Text + " " + elicited.Action), nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "grow"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		mcp.AddTool(server, &mcp.Tool{Name: "grown"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return say("grown"), nil, nil
		})
		server.AddResource(&mcp.Resource{URI: "echo://one", Name: "one"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{}, nil
		})
		return say("ok"), nil, nil
	})
	server.AddPrompt(&mcp.Prompt{Name: "p"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{}, nil
	})
	return server
}

// fakeHand is a server by hand that does one thing wrong, its first argument.
func fakeHand(args []string) int {
	how := args[0]
	fmt.Println("hand-made server, v0")
	switch how {
	case "silent":
		fmt.Fprintln(os.Stderr, "waiting for a licence key")
	case "broke":
		fmt.Fprintln(os.Stderr, "no TOKEN in the environment")
		return 9
	case "weak": // from its second start on, it does not live long
		if mark(os.Getenv("SEEN")) > 0 {
			fmt.Fprintln(os.Stderr, "out of luck")
			return 6
		}
	case "slow": // a modern server that takes its time to start
		if seen := os.Getenv("SEEN"); mark(seen) == 0 {
			time.Sleep(time.Second) // in a process of its own: the bridge's clock cannot be virtual here
		}
	}
	initialized := false
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var m struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
		}
		if json.Unmarshal(in.Bytes(), &m) != nil {
			continue
		}
		reply := func(format string, a ...any) {
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,%s}`+"\n", m.ID, fmt.Sprintf(format, a...))
		}
		if how == "hard" && hard(m.Method, string(m.ID), m.Params) {
			continue
		}
		switch {
		case how == "silent":
		case m.Method == "server/discover":
			switch how {
			case "crash":
				fmt.Fprintln(os.Stderr, "panic: unknown method server/discover")
				return 2
			case "modern", "slow":
				reply(`"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"resources":{}},`+
					`"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":%q,"version":"1"}}}`, how)
			case "ignore":
			case "spoilt":
				reply(`"error":{"code":-32600,"message":"not initialized"}`)
				initialized = true // it takes anything for the handshake
			default:
				reply(`"error":{"code":-32601,"message":"method not found"}`)
			}
		case m.Method == "initialize" && (how == "modern" || how == "slow"):
			reply(`"error":{"code":-32022,"message":"unsupported protocol version","data":{"supported":["2026-07-28"]}}`)
		case m.Method == "initialize" && how == "refuse":
			fmt.Fprintln(os.Stderr, "licence expired")
			reply(`"error":{"code":-32603,"message":"no licence"}`)
		case m.Method == "initialize" && initialized:
			reply(`"error":{"code":0,"message":"duplicate initialize received"}`)
		case m.Method == "initialize":
			initialized = true
			fmt.Println(`{"jsonrpc":"2.0","id":"q1","method":"ping"}`)
			fmt.Println(`{"jsonrpc":"2.0","id":"q2","method":"roots/list"}`)
			fmt.Println("Listening. Press Ctrl-C to stop.")
			reply(`"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{},"prompts":null},"serverInfo":{"name":%q}}`, how)
		case m.Method == "notifications/initialized":
			if how == "crash later" {
				fmt.Fprintln(os.Stderr, "out of memory")
				return 4
			}
		case m.ID != nil && m.Method != "":
			reply(`"result":{"method":%q}`, m.Method)
		}
	}
	return 0
}

// hard answers what is hard to carry.
var hard func(method, id string, params json.RawMessage) bool

// flood writes 32 MiB to stderr, without a line break in half of it, and garbage to stdout.
func flood() {
	line := strings.Repeat("e", 1<<16)
	for n := range 512 {
		fmt.Fprint(os.Stderr, line)
		if n%2 == 0 {
			fmt.Fprintln(os.Stderr)
		}
		fmt.Print("\x00\xff{\"jsonrpc\": garbage\n")
	}
}

// mark counts the starts of a fake in a file.
func mark(path string) int {
	old, _ := os.ReadFile(path)
	_ = os.WriteFile(path, append(old, 'x'), 0o600)
	return len(old)
}

// sdkPipe lets the official SDK's client speak through a wire.Pipe.
type sdkPipe struct{ wire.Pipe }

func (p sdkPipe) Connect(context.Context) (mcp.Connection, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return &sdkConn{pipe: p.Pipe, ctx: ctx, cancel: cancel}, nil
}

type sdkConn struct {
	pipe   wire.Pipe
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once
}

func (c *sdkConn) SessionID() string { return "" }

func (c *sdkConn) Read(context.Context) (jsonrpc.Message, error) {
	raw, err := c.pipe.Read(c.ctx)
	if err != nil {
		return nil, err
	}
	return jsonrpc.DecodeMessage(raw)
}

func (c *sdkConn) Write(ctx context.Context, msg jsonrpc.Message) error {
	raw, err := jsonrpc.EncodeMessage(msg)
	if err != nil {
		return err
	}
	return c.pipe.Write(ctx, raw)
}

func (c *sdkConn) Close() error {
	c.once.Do(c.cancel)
	return c.pipe.Close()
}

// connect makes an SDK client on a pipe: legacy unless version says otherwise.
func connect(t testing.TB, p wire.Pipe, version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "v1"}, opts)
	session, err := client.Connect(within(t), sdkPipe{p}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// call calls a tool and returns the text of its answer.
func call(t testing.TB, session *mcp.ClientSession, tool string, args map[string]any) string {
	t.Helper()
	result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	var texts []string
	for _, c := range result.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			texts = append(texts, text.Text)
		}
	}
	return strings.Join(texts, "\n")
}
