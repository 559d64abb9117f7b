//go:build unix

package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolbus/toolbus/servers"
	"github.com/toolbus/toolbus/servers/wire"
)

// What is hard to carry comes through the bus as it was written: large results, ids that no float64 holds, members that nobody knows; and what the
// child prints besides is in nobody's way.
func TestHardInputsCross(t *testing.T) {
	here, there := onBus(t)
	here.run(t, "hard", &RunOptions{Stdio: quick()}, "hand", "hard")
	caller, err := wire.NewCaller(there.conn, &wire.CallerOptions{Scope: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	pipe, err := caller.Dial(wire.Target{Name: "hard"})
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	ask := func(msg string) string {
		t.Helper()
		if err := pipe.Write(within(t), json.RawMessage(msg)); err != nil {
			t.Fatal(err)
		}
		return read(t, pipe)
	}
	const id = "90071992547409931234567890"
	if got := ask(`{"jsonrpc":"2.0","id":` + id + `,"method":"x/echo","params":{"later":{"n":1.50,"big":18446744073709551617},"t":"<&>"}}`); !strings.Contains(got, `"id":`+id) ||
		!strings.Contains(got, `"later":{"n":1.50,"big":18446744073709551617}`) || !strings.Contains(got, `"<&>"`) {
		t.Errorf("numbers and members: %s", got)
	}
	if got := ask(`{"jsonrpc":"2.0","id":"large","method":"x/large"}`); len(got) < 8<<20 || !strings.Contains(got[len(got)-100:], "xx") {
		t.Errorf("8 MiB: %d bytes", len(got))
	}
	if got := ask(`{"jsonrpc":"2.0","id":"flood","method":"x/flood"}`); !strings.Contains(got, `"flooded":true`) {
		t.Errorf("a flood on stderr and stdout: %.200s", got)
	}
}

// A list that changes changes the record and the groups of a bridged server, and every client that listens is told, each on its own.
func TestChangedListReachesRecordGroupsAndListeners(t *testing.T) {
	for _, era := range []servers.Era{servers.Modern, servers.Legacy} {
		t.Run(string(era), func(t *testing.T) {
			here, there := onBus(t)
			var versions []string
			if era == servers.Legacy {
				versions = []string{servers.LegacyVersion}
			}
			name := "grows-" + string(era)
			o := quick()
			o.ProbeTimeout = patience // on a busy machine it would pass for a legacy one
			here.run(t, name, &RunOptions{Stdio: o}, "echo", versions...)
			record := func(tools, resources string) func() bool {
				return func() bool {
					rec, err := there.reg.Describe(name)
					return err == nil && rec.Metadata[MetaTools] == tools && rec.Metadata[MetaResources] == resources &&
						(resources == "") != strings.Contains(strings.Join(rec.Groups, " "), "resources")
				}
			}
			eventually(t, "its tools are counted", record("5", ""))
			told := make(chan int, 10)
			if era == servers.Modern {
				for n := range 3 {
					session := there.dial(t, wire.Target{Name: name}, servers.ModernVersion, &mcp.ClientOptions{
						ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { told <- n },
					})
					call(t, session, "echo", map[string]any{"text": "x"})
				}
			}
			session := there.dial(t, wire.Target{Name: name}, string(servers.ModernVersion), nil)
			if era == servers.Legacy {
				session = nil
			}
			grow := func() {
				t.Helper()
				if session != nil {
					call(t, session, "grow", nil)
					return
				}
				caller, err := wire.NewCaller(there.conn, &wire.CallerOptions{Scope: "test"})
				if err != nil {
					t.Fatal(err)
				}
				defer caller.Close()
				pipe, err := caller.Dial(wire.Target{Name: name})
				if err != nil {
					t.Fatal(err)
				}
				defer pipe.Close()
				if err := pipe.Write(within(t), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"grow","arguments":{}}}`)); err != nil {
					t.Fatal(err)
				}
				read(t, pipe)
			}
			grow()
			eventually(t, "the record and the groups follow", record("6", "1"))
			if era == servers.Modern {
				seen := map[int]bool{}
				for len(seen) < 3 {
					select {
					case n := <-told:
						seen[n] = true
					case <-within(t).Done():
						t.Fatalf("only %v were told", seen)
					}
				}
			}
		})
	}
}

func init() {
	hard = func(method, id string, params json.RawMessage) bool {
		switch method {
		case "x/echo":
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", id, params)
		case "x/large":
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"text":"%s"}}`+"\n", id, strings.Repeat("x", 8<<20))
		case "x/flood":
			flood()
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"flooded":true}}`+"\n", id)
		default:
			return false
		}
		return true
	}
}
