package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/nats-io/nats.go"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers"
)

// EchoServer is the MCP server that every transport is measured with: one tool, echo, that gives its text back.
func EchoServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "v1"}, nil)
	type args struct {
		Text string `json:"text"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo", Description: "gives its text back"}, func(_ context.Context, _ *mcp.CallToolRequest, a args) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	})
	return s
}

// Echo calls the tool once and checks what came back.
func Echo(ctx context.Context, session *mcp.ClientSession, text string) error {
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": text}})
	if err != nil {
		return err
	}
	if len(res.Content) != 1 {
		return fmt.Errorf("%d contents", len(res.Content))
	}
	if t, ok := res.Content[0].(*mcp.TextContent); !ok || len(t.Text) != len(text) {
		return errors.New("the echo is another text")
	}
	return nil
}

// Calls makes n calls of a size from so many callers at once, and says how long each took.
func Calls(ctx context.Context, session *mcp.ClientSession, n, callers, size int) ([]time.Duration, time.Duration, error) {
	text := strings.Repeat("x", size)
	samples := make([]time.Duration, n)
	began := time.Now()
	err := inParallel(callers, n, func(i int) error {
		began := time.Now()
		err := Echo(ctx, session, text)
		samples[i] = time.Since(began)
		return err
	})
	return samples, time.Since(began), err
}

// caller is a client of a server on the bus.
type caller struct{ session *mcp.ClientSession }

func (c *caller) close() error { return c.session.Close() }

// serve serves the echo under a name, and in a group if one is given.
func (c *child) serve(ctx context.Context, r Request) (Reply, error) {
	if c.host == nil {
		c.host = servers.NewHost(c.conn, c.reg, nil)
	}
	var opts servers.ServeOptions
	if r.Group != "" {
		opts.Groups = []string{r.Group}
	}
	for i := range max(1, r.N) {
		n := r.Name
		if r.N > 1 {
			n = fmt.Sprintf("%s-%d", r.Name, i)
		}
		if _, err := c.host.Serve(ctx, n, EchoServer(), &opts); err != nil {
			return Reply{}, err
		}
	}
	return Reply{}, nil
}

// dial opens a session with a name.
func (c *child) dial(ctx context.Context, r Request) (Reply, error) {
	if _, err := c.reg.Await(ctx, r.Name); err != nil {
		return Reply{}, err
	}
	return Reply{}, c.connectClient(ctx, &servers.Transport{Conn: c.conn, Registry: c.reg, Name: r.Name})
}

// call calls what was dialled.
func (c *child) call(ctx context.Context, r Request) (Reply, error) {
	if c.client == nil {
		return Reply{}, registry.ErrNotFound
	}
	samples, took, err := Calls(ctx, c.client.session, r.N, max(1, r.Many), r.Size)
	return Reply{Samples: samples, Elapsed: took, N: r.N}, err
}

// floorServer answers raw NATS requests and raw loopback connections.
type floorServer struct {
	sub    *nats.Subscription
	listen net.Listener
}

// raw answers requests on a subject, and whoever connects to the address that it returns, with what they send.
func (c *child) raw(_ context.Context, r Request) (Reply, error) {
	if c.floor == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return Reply{}, err
		}
		c.floor = &floorServer{listen: l}
		go echoConns(l)
	}
	sub, err := c.conn.NATS().Subscribe(r.Name, func(m *nats.Msg) {
		_ = m.Respond(m.Data) // who asked learns of a failure by his deadline
	})
	if err != nil {
		return Reply{}, err
	}
	c.floor.sub = sub
	return Reply{URL: c.floor.listen.Addr().String()}, c.conn.NATS().Flush()
}

func echoConns(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				if _, err := conn.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// echo asks what raw serves: the subject, or (url) the address.
func (c *child) echo(ctx context.Context, r Request) (Reply, error) {
	data := []byte(strings.Repeat("x", max(1, r.Size)))
	samples := make([]time.Duration, r.N)
	if r.URL != "" {
		conn, err := net.Dial("tcp", r.URL)
		if err != nil {
			return Reply{}, err
		}
		defer conn.Close()
		buf := make([]byte, 64<<10)
		began := time.Now()
		for i := range samples {
			began := time.Now()
			if _, err := conn.Write(data); err != nil {
				return Reply{}, err
			}
			for got := 0; got < len(data); {
				n, err := conn.Read(buf)
				if err != nil {
					return Reply{}, err
				}
				got += n
			}
			samples[i] = time.Since(began)
		}
		return Reply{Samples: samples, Elapsed: time.Since(began), N: r.N}, nil
	}
	began := time.Now()
	err := inParallel(max(1, r.Many), r.N, func(i int) error {
		began := time.Now()
		_, err := c.conn.NATS().RequestWithContext(ctx, r.Name, data)
		samples[i] = time.Since(began)
		return err
	})
	return Reply{Samples: samples, Elapsed: time.Since(began), N: r.N}, err
}
