package servers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/bus/bustest"
	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// Close gives the name up first; with Drain the calls in flight may end, for so long and no longer.
func TestCloseLetsCallsEnd(t *testing.T) {
	for what, test := range map[string]struct {
		drain time.Duration
		ends  bool // the call, by itself
	}{"in time": {bustest.Deadline, true}, "too late": {50 * time.Millisecond, false}, "no drain": {0, false}} {
		t.Run(what, func(t *testing.T) {
			node := bustest.Node(t, nil)
			here, there := newProcess(t, node), newProcess(t, node)
			begun, release := make(chan struct{}), make(chan struct{})
			server := mcp.NewServer(&mcp.Implementation{Name: "slow"}, nil)
			mcp.AddTool(server, &mcp.Tool{Name: "slow"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
				close(begun)
				select {
				case <-release:
				case <-ctx.Done():
				}
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "done"}}}, nil, nil
			})
			serving, err := here.host(t).Serve(t.Context(), "slow", server, &servers.ServeOptions{Drain: test.drain})
			if err != nil {
				t.Fatal(err)
			}
			session := connect(t, client(nil), &servers.Transport{Conn: there.conn, Name: "slow"}, modern)
			ended := make(chan error, 1)
			ctx := bustest.Context(t)
			go func() {
				_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "slow"})
				ended <- err
			}()
			<-begun
			closed := make(chan error, 1)
			go func() { closed <- serving.Close() }()
			bustest.Eventually(t, "the name is given up", func() bool { _, err := there.reg.Whereis("slow"); return err != nil })
			if test.ends {
				select {
				case err := <-ended:
					t.Fatalf("the call has ended: %v", err)
				case <-closed:
					t.Fatal("Close does not wait for the call")
				default:
				}
				close(release)
			}
			switch err := <-ended; {
			case test.ends && err != nil:
				t.Errorf("the call in flight: %v", err)
			case !test.ends && !errors.Is(servers.Failed(err), wire.ErrEnded):
				t.Errorf("the call in flight was not told: %v", err)
			}
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}
