package registry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const erlangPage = "../docs/erlang.md"

// foundingCalls are the calls of the proof of concept in Erlang that this registry succeeds.
var foundingCalls = []string{
	"register(", "whereis(", "unregister(", "registered()", "join_group(", "get_group_members(", "leave_group(", "get_all_groups()", "start_link()",
	"start_mcp_server(", "stop_mcp_server(", "list_servers()", "run_demo()", "simulate_node_failure(", "gen_server:call(", "net_adm:ping(",
	"gproc:reg({n, l,", "gproc:where/", "gproc:unreg/", "gproc:reg({p, l,", "gproc:lookup_pids({p, l,",
	"global:registered_names/", "pg:which_groups/", "pg:get_members/",
}

// tests are the functions of some test files that a line of the page may name: of Examples only those that run.
func tests(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, is := d.(*ast.FuncDecl)
			if !is || fn.Recv != nil {
				continue
			}
			if strings.HasPrefix(fn.Name.Name, "Test") {
				out[fn.Name.Name] = true
			}
			for _, c := range f.Comments {
				if c.Pos() > fn.Body.Lbrace && c.End() < fn.Body.Rbrace && strings.HasPrefix(fn.Name.Name, "Example") && strings.HasPrefix(c.Text(), "Output:") {
					out[fn.Name.Name] = true
				}
			}
		}
	}
	return out
}

// The page for those who come from Erlang names nothing that does not run, and leaves out no call of the founding document.
func TestErlangPage(t *testing.T) {
	page, err := os.ReadFile(erlangPage)
	if err != nil {
		t.Fatal(err)
	}
	here, inServers := tests(t, "*_test.go"), tests(t, "../servers/*_test.go")
	shown := regexp.MustCompile("`((?:Example|Test)[A-Za-z_]+)`( \\(servers\\))?")
	named := map[string]bool{}
	for i, line := range strings.Split(string(page), "\n") {
		found := shown.FindAllStringSubmatch(line, -1)
		for _, m := range found {
			if named[m[1]] = true; m[2] == "" && !here[m[1]] || m[2] != "" && !inServers[m[1]] {
				t.Errorf("line %d: %s does not exist, or does not run", i+1, m[1])
			}
		}
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.HasPrefix(line, "|--") || strings.HasPrefix(line, "| there") {
			continue
		}
		if here := strings.TrimSpace(cells[2]); len(found) == 0 && here != "—" && !strings.HasPrefix(here, "`toolbus ") {
			t.Errorf("line %d claims %q, and nothing shows it", i+1, here)
		}
	}
	if len(named) < 40 {
		t.Errorf("the page names %d Examples and tests", len(named))
	}
	for _, call := range foundingCalls {
		if !strings.Contains(string(page), "`"+call) {
			t.Errorf("%s) is not on the page", call)
		}
	}
	for name := range tests(t, "example_erlang_*_test.go") {
		if strings.HasPrefix(name, "Example") && !named[name] {
			t.Errorf("%s is not on the page", name)
		}
	}
}

// The traps that are held outside the contract's chapter are held by tests that exist.
func TestTrapsAreHeld(t *testing.T) {
	text, err := os.ReadFile("registrytest/traps.go")
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]map[string]bool{"": tests(t, "*_test.go"), "servers": tests(t, "../servers/*_test.go"), "servers/bridge": tests(t, "../servers/bridge/*_test.go")}
	found := regexp.MustCompile(`\b(Test[A-Z][A-Za-z]+)(?: \(([a-z/]+)\))?`).FindAllStringSubmatch(string(text), -1)
	if len(found) < 8 {
		t.Fatalf("only %d tests are named", len(found))
	}
	for _, m := range found {
		if !in[m[2]][m[1]] {
			t.Errorf("%s does not exist in %q", m[1], m[2])
		}
	}
}
