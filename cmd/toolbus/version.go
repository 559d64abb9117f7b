package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// buildInfo is what a binary knows about itself.
type buildInfo struct {
	header
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	NATS    string `json:"natsServer"` // the embedded one
	SDK     string `json:"mcpSDK"`
	OS      string `json:"os"`
}

func build() buildInfo {
	b := buildInfo{header: head("Version"), Version: "dev", Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/nats-io/nats-server/v2":
			b.NATS = strings.TrimPrefix(dep.Version, "v")
		case "github.com/modelcontextprotocol/go-sdk":
			b.SDK = strings.TrimPrefix(dep.Version, "v")
		}
	}
	return b
}

func versionCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "say which version this is",
		Example: "toolbus version -o json",
		Args:    exactArgs(0, ""),
		RunE: func(*cobra.Command, []string) error {
			b := build()
			if e.out.machine() {
				return e.out.document(b)
			}
			line := fmt.Sprintf("toolbus %s (%s, nats-server %s, go-sdk %s, %s)", b.Version, b.Go, b.NATS, b.SDK, b.OS)
			return e.out.lines([]string{line})
		},
	}
}
