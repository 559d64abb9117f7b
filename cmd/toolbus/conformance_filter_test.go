//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"sync"
)

func init() { programs["erafilter"] = eraFilter }

// eraFilter is an MCP server that is another one without a method: erafilter METHOD COMMAND [ARG...]. Without server/discover it is a server of the older
// protocol alone, as far as anybody can tell; without initialize one of the newer.
func eraFilter() {
	if err := filter(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "erafilter:", err)
		os.Exit(1)
	}
}

func filter(refused string, command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var mu sync.Mutex // one line at a time goes out
	say := func(line []byte) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = os.Stdout.Write(line) // who does not listen any more has closed stdin too
	}
	go func() {
		defer in.Close()
		lines := bufio.NewReader(os.Stdin)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			var m struct {
				ID     json.RawMessage `json:"id"`
				Method string          `json:"method"`
			}
			if json.Unmarshal(line, &m) == nil && m.Method == refused && m.ID != nil {
				say(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"method not found: %s"}}`+"\n", m.ID, refused))
				continue
			}
			if _, err := in.Write(line); err != nil {
				return
			}
		}
	}()
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return cmd.Wait()
		}
		if err != nil {
			return err
		}
		if refused == "initialize" { // nor does it say that it could
			line = supported.ReplaceAll(line, []byte(`"supportedVersions":["`+modernRevision+`"]`))
		}
		say(line)
	}
}

var supported = regexp.MustCompile(`"supportedVersions":\[[^\]]*\]`)
