//go:build unix

//lint:file-ignore SA1019 what the protocol has deprecated has to cross the bus too

package bridge

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// The everything server of the protocol's authors, as a user would run it: a legacy server that asks back.
func TestServerEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("it may have to be downloaded")
	}
	if _, err := exec.LookPath("npx"); err != nil {
		t.Skip("npx is not here")
	}
	here, there := onBus(t)
	// With a cold cache npx downloads first, and where no registry can be reached it fails.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := []string{"npx", "-y", "@modelcontextprotocol/server-everything"}
	r, err := Run(ctx, here.conn, here.reg, "everything", command, &RunOptions{StartTimeout: 2 * time.Minute})
	if failed, ok := errors.AsType[*StartError](err); ok && (errors.Is(err, context.DeadlineExceeded) || strings.Contains(failed.Error(), "npm error")) {
		t.Skip("npx cannot get it: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(within(t)); err != nil {
			t.Errorf("close: %v", err)
		}
		eventually(t, "npx is gone", func() bool { return !alive(r.Backend().Pid()) })
	}()
	info := r.Info()
	t.Logf("%s %s %s, groups %q, skipped %d lines", info.Era, info.Version, info.Server, r.Groups(), r.Backend().first.Noise())
	if info.Era != servers.Legacy || len(r.Groups()) != 3 {
		t.Errorf("it is %s, in %q", info.Era, r.Groups())
	}
	session := there.dial(t, wire.Target{Name: "everything"}, servers.LegacyVersion, &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: "sampled through the bus"}, Model: "m", Role: "assistant"}, nil
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
	})
	tools, err := session.ListTools(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools.Tools {
		names = append(names, tool.Name)
	}
	t.Logf("%d tools: %s", len(names), strings.Join(names, " "))
	if len(names) < 10 {
		t.Errorf("%d tools", len(names))
	}
	if got := call(t, session, "echo", map[string]any{"message": "hi"}); !strings.Contains(got, "hi") {
		t.Errorf("echo: %q", got)
	}
	if got := call(t, session, "get-sum", map[string]any{"a": 5, "b": 3}); !strings.Contains(got, "8") {
		t.Errorf("get-sum: %q", got)
	}
	for _, name := range names {
		if strings.Contains(name, "sampling-request") && !strings.Contains(name, "async") {
			if got := call(t, session, name, map[string]any{"prompt": "p", "maxTokens": 10}); !strings.Contains(got, "sampled through the bus") {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	// A request without a session, as from nats req.
	pipe, err := wire.Dial(there.conn, wire.Target{Name: "everything"}, &wire.CallerOptions{Scope: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := pipe.Write(within(t), bare(1, "tools/call", servers.Legacy, `{"name":"get-sum","arguments":{"a":5,"b":3}}`)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, pipe); !strings.Contains(got, "8") {
		t.Errorf("without a session: %s", got)
	}
}
