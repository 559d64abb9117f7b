package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/toolbus/toolbus"

// arrows says what each room may import of this module. A row is for the package and all below it; the longest one that fits counts.
var arrows = map[string][]string{
	"bus":                   {},
	"bus/bustest":           {"bus"},
	"kvstore":               {},
	"kvstore/kvtest":        {"kvstore"},
	"registry":              {"kvstore"},
	"registry/registrytest": {"registry", "kvstore"},
	"servers":               {"servers", "registry", "bus", "kvstore"},
	"servers/wire":          {"bus"},
	"servers/gateway":       {"servers", "servers/wire", "servers/aggregate", "registry", "bus", "kvstore"},
	"servers/era":           {"servers/wire"},
	"servers/shim":          {"servers", "servers/wire", "servers/era", "registry", "bus", "kvstore"},
	"servers/bridge":        {"servers", "servers/wire", "registry", "bus", "kvstore"},
	"servers/aggregate":     {"servers", "servers/wire", "registry"},
	"cmd":                   {"servers", "registry", "bus", "kvstore"},
	"cmd/toolbus":           {"bench", "servers", "registry", "bus", "kvstore"},
	"bench":                 {"servers", "registry", "bus", "kvstore"},
}

// strangers says what a room has never heard of.
var strangers = map[string][]string{
	"bus":      {"github.com/modelcontextprotocol/"},
	"kvstore":  {"github.com/modelcontextprotocol/", "github.com/nats-io/nats-server/"},
	"registry": {"github.com/modelcontextprotocol/", "github.com/nats-io/nats-server/", "github.com/nats-io/nats.go"},
	"servers":  {"github.com/nats-io/nats-server/"},
}

// forTests are packages that only tests may import.
var forTests = []string{"bus/bustest", "kvstore/kvtest", "registry/registrytest"}

// maxLines is the longest a file may be.
const maxLines = 400

type goPackage struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
	TestGoFiles     []string
	XTestGoFiles    []string
}

func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,GoFiles,TestGoFiles,XTestGoFiles", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func room[T any](table map[string]T, path string) (string, bool) {
	best, ok := "", false
	for r := range table {
		if (path == r || strings.HasPrefix(path, r+"/")) && len(r) >= len(best) {
			best, ok = r, true
		}
	}
	return best, ok
}

func TestArrows(t *testing.T) {
	for _, p := range packages(t) {
		from, ok := room(arrows, p.path())
		if !ok {
			t.Errorf("%s is in no room: give it a row in arrows", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			if slices.Contains(forTests, to) {
				t.Errorf("%s imports %s: only tests may", p.path(), to)
			}
			allowed := false
			for _, a := range arrows[from] {
				// servers/bridge may use servers itself, but that arrow is not one to what lies below it.
				allowed = allowed || to == a || strings.HasPrefix(to, a+"/") && (a != "servers" || !strings.HasPrefix(from, "servers/"))
			}
			if !allowed {
				t.Errorf("%s imports %s: the arrows are %s -> %v", p.path(), to, from, arrows[from])
			}
		}
	}
}

func TestStrangers(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains(forTests, p.path()) {
			continue
		}
		from, _ := room(strangers, p.path())
		for _, imp := range p.Imports {
			for _, stranger := range strangers[from] {
				if strings.HasPrefix(imp, stranger) {
					t.Errorf("%s imports %s: %s has never heard of it", p.path(), imp, from)
				}
			}
		}
	}
}

func TestEachPackageHasItsStory(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && !slices.Contains(forTests, p.path()) && !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s has no doc.go", p.path())
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			data, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, []byte("\n")); n > maxLines {
				t.Errorf("%s/%s has %d lines: at most %d", p.path(), name, n, maxLines)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	root := filepath.Join("..", "..")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"bus", "registry", "kvstore", "servers", "cmd", "bench", "docs", "go.mod", "go.sum", "README.md", "LICENSE"}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(known, e.Name()) {
			t.Errorf("%s at the top: the rooms are %v", e.Name(), known)
		}
	}
}
