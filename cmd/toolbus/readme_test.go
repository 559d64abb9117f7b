//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// readmeNPX makes the README's test use the npx that is installed, and the registry that it asks; else a server stands in for it that answers alike.
const readmeNPX = "TOOLBUS_README_NPX"

// readme returns one section of the README.
func readme(t *testing.T, title string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(data), "# "+title+"\n")
	if !ok {
		t.Fatalf("no section %q", title)
	}
	section, _, _ := strings.Cut(after, "\n## ")
	return section
}

// shown is a command of the README and what it says that it prints.
type shown struct {
	command string
	output  []string
}

// shownIn takes the commands after "$ " and their output out of the indented blocks.
func shownIn(section string) (list []shown) {
	open := false
	for line := range strings.Lines(section) {
		code, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		command, isCommand := strings.CutPrefix(code, "$ ")
		switch open = ok && (open || isCommand); {
		case isCommand:
			list = append(list, shown{command: command})
		case open:
			list[len(list)-1].output = append(list[len(list)-1].output, code)
		}
	}
	return list
}

var (
	agesShown = regexp.MustCompile(`\b\d+(ms|s|m)\b`)
	urlsShown = regexp.MustCompile(`nats://127\.0\.0\.1:\d+`)
)

// normal makes one line of what differs from run to run, and from machine to machine: ages, ports, the node's name and so the width of columns.
func normal(line, node string) string {
	fields := strings.Fields(urlsShown.ReplaceAllString(line, "URL"))
	for i, f := range fields {
		if f == node {
			f = "NODE"
		}
		fields[i] = agesShown.ReplaceAllString(f, "AGE")
	}
	return strings.Join(fields, " ")
}

// What the README shows is what happens.
func TestReadmeUse(t *testing.T) {
	section := readme(t, "Use it")
	list := shownIn(section)
	if len(list) < 6 || list[0].command != "toolbus up" || !strings.HasPrefix(list[1].command, "toolbus run everything -- npx -y ") {
		t.Fatalf("it shows %+v", list)
	}
	if os.Getenv(readmeNPX) == "" {
		bin := t.TempDir()
		script := "#!/bin/sh\nexec fakeeverything\n"
		if err := os.WriteFile(filepath.Join(bin, "npx"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "url")
	up := append(strings.Fields(list[0].command)[1:], "--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, "node"), "--url-file", file)
	go start(t, up...).drain()
	var url string
	waitFor(t, func() bool {
		data, _ := os.ReadFile(file)
		url = strings.TrimSpace(string(data))
		return url != ""
	})
	run := append([]string{"-s", url}, strings.Fields(list[1].command)[1:]...)
	server := start(t, run...)
	server.says(t, "everything is on the bus")

	host, _ := os.Hostname()
	shell := func(command string) (string, int) {
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = append(cmd.Environ(), "NATS_URL="+url, "XDG_CONFIG_HOME="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), exitCode(err)
	}
	for _, s := range list[2:] {
		out, _ := shell(s.command)
		got := strings.Split(strings.TrimRight(out, "\n"), "\n")
		if len(got) != len(s.output) {
			t.Errorf("$ %s\n%s\nnot\n%s", s.command, out, strings.Join(s.output, "\n"))
			continue
		}
		for i := range got {
			if normal(got[i], host) != normal(s.output[i], "vm") {
				t.Errorf("$ %s: %q, not %q", s.command, got[i], s.output[i])
			}
		}
	}

	// The text: a second one exits with 7, the nats commands work, and a killed one is gone.
	if out, exit := shell(list[1].command); exit != classTaken.exit || !strings.Contains(out, "is held by") {
		t.Errorf("a second one: exit code %d: %s", exit, out)
	}
	if _, err := exec.LookPath("nats"); err == nil {
		commands := regexp.MustCompile("`(nats [a-z][^`]+)`").FindAllStringSubmatch(section, -1)
		if len(commands) < 4 {
			t.Errorf("only %d nats commands", len(commands))
		}
		for _, c := range commands {
			if out, exit := shell(c[1]); exit != 0 || strings.TrimSpace(out) == "" {
				t.Errorf("$ %s: exit code %d: %s", c[1], exit, out)
			}
		}
	}
	if err := server.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	server.end(t)
	if out, exit := shell("toolbus wait everything --for gone --timeout 30s"); exit != 0 {
		t.Errorf("killed, it is there still: %s", out)
	}
}

// Every toolbus command that the README writes is one, with its flags; the first of them is what TestDemo runs.
func TestReadmeCommands(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if !strings.Contains(text, "\n    go run ./cmd/toolbus demo\n    go test ./...\n") {
		t.Error("it does not begin with the demo and the tests")
	}
	found := regexp.MustCompile("(?m)(?:^    (?:\\$ )?|`)(?:toolbus|go run ./cmd/toolbus) ([a-z][^`\n]*)").FindAllStringSubmatch(text, -1)
	if len(found) < 8 {
		t.Errorf("only %d commands", len(found))
	}
	for _, f := range found {
		e := newEnv(strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
		words := strings.Fields(strings.ReplaceAll(f[1], "...", "x"))
		cmd, rest, err := e.root().Find(words)
		if err != nil || !cmd.HasParent() {
			t.Errorf("toolbus %s: %v", f[1], err)
			continue
		}
		if cmd.DisableFlagParsing { // it reads its flags itself
			if err := cmd.ValidateArgs(rest); err != nil {
				t.Errorf("toolbus %s: %v", f[1], err)
			}
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("toolbus %s: %v", f[1], err)
		} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("toolbus %s: %v", f[1], err)
		}
	}
}

// The Go code is that of an example which runs.
func TestReadmeCode(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "servers", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		have[strings.Join(strings.Fields(line), " ")] = true
	}
	lines := 0
	for line := range strings.Lines(readme(t, "Embed it")) {
		code, ok := strings.CutPrefix(line, "    ")
		code, _, _ = strings.Cut(code, " // ")
		code = strings.Join(strings.Fields(code), " ")
		if !ok || code == "" {
			continue
		}
		if lines++; !have[code] {
			t.Errorf("%q does not stand in servers/example_test.go", code)
		}
	}
	if lines < 4 {
		t.Errorf("only %d lines of code", lines)
	}
}
