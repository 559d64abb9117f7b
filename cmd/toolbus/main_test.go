package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/toolbus/toolbus/bus"
)

func TestMain(m *testing.M) {
	testscript.Main(noLeaks{m}, programs)
}

// programs are what the tests start by name, each a process of this binary. Other files add to it.
var programs = map[string]func(){"toolbus": main, "fakeserver": fakeServer, "fakeeverything": fakeEverything, "fakeworld": fakeWorld, "fetch": fetch}

// noLeaks runs the tests and looks for goroutines that they left.
type noLeaks struct{ m *testing.M }

func (n noLeaks) Run() int {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // a race-enabled child would else stay for a second after its end
	ats.Register()                           // the one goroutine that all nats-servers of a process share, and keep
	ignore := goleak.IgnoreCurrent()
	code := n.m.Run()
	if err := goleak.Find(ignore); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines leaked:", err)
		code = 1
	}
	return code
}

// TestScripts runs testdata: one script a command, each with a node of its own where it needs one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(s *testscript.Env) error {
			for _, v := range s.Vars { // what the user of this machine has set is not the script's
				if k, _, _ := strings.Cut(v, "="); strings.HasPrefix(k, "NATS_") || strings.HasPrefix(k, "TOOLBUS_") {
					s.Setenv(k, "")
				}
			}
			s.Setenv("GORACE", os.Getenv("GORACE"))
			s.Setenv("XDG_CONFIG_HOME", filepath.Join(s.WorkDir, "config"))
			s.Setenv("XDG_DATA_HOME", filepath.Join(s.WorkDir, "data"))
			s.Setenv("XDG_CACHE_HOME", filepath.Join(s.WorkDir, "cache"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await,
			"exits": exits,
			"until": until,
			"ports": ports,
		},
	})
}

// patience bounds every wait of a script: long, as the machine may be busy; no test is to take it.
const patience = 60 * time.Second

// await VARIABLE FILE waits for a file and puts its first line into a variable.
func await(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("await VARIABLE FILE")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if data, err := os.ReadFile(ts.MkAbs(args[1])); err == nil {
			ts.Setenv(args[0], strings.TrimSpace(string(data)))
			return
		}
	}
	ts.Fatalf("%s did not come", args[1])
}

// exits CODE PROGRAM ARG... runs a program that must leave with that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("%v exited with %d, not %d; stdout: %s; stderr: %s", args[1:], got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// until PROGRAM ARG... runs a program until it succeeds.
func until(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(patience); ts.Exec(args[0], args[1:]...) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%v does not succeed: %s", args, ts.ReadFile("stderr"))
		}
	}
}

// ports VARIABLE... puts a free loopback address into each variable.
func ports(ts *testscript.TestScript, _ bool, args []string) {
	addrs, err := bus.FreeAddrs(len(args))
	ts.Check(err)
	for i, name := range args {
		ts.Setenv(name, addrs[i])
	}
}

func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// fakeServer is an MCP server on stdin for `run` to run.
func fakeServer() {
	s := mcp.NewServer(&mcp.Implementation{Name: "fake", Version: "1"}, &mcp.ServerOptions{PageSize: 2}) // more tools than one page
	type numbers struct {
		A float64 `json:"a"`
		B float64 `json:"b"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "add", Description: "Add two numbers"}, func(_ context.Context, _ *mcp.CallToolRequest, in numbers) (*mcp.CallToolResult, any, error) {
		return say(fmt.Sprint(in.A + in.B)), nil, nil
	})
	type everything struct {
		Text   string   `json:"text,omitempty"`
		Number int      `json:"number,omitempty"`
		Flag   bool     `json:"flag,omitempty"`
		List   []string `json:"list,omitempty"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "show"}, func(_ context.Context, _ *mcp.CallToolRequest, in everything) (*mcp.CallToolResult, any, error) {
		return say(fmt.Sprintf("text=%q number=%d flag=%t list=%q", in.Text, in.Number, in.Flag, in.List)), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "fail"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, errors.New("no such luck")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "picture"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.ImageContent{Data: make([]byte, 5000), MIMEType: "image/png"}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "block"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	mcp.AddTool(s, &mcp.Tool{Name: "die"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		fmt.Fprintln(os.Stderr, "famous last words")
		os.Exit(3)
		return nil, nil, nil
	})
	s.AddResource(&mcp.Resource{URI: "fake://one", Name: "one"}, func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: "one"}}}, nil
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
